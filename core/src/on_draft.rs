//! Drafts: jobs that get files before they are launched.

use std::collections::{BTreeMap, BTreeSet};

use campusgrid_protocol::id::{JobId, UserId};
use campusgrid_protocol::input::{INPUTS_MAX, InputFile};

use crate::draft::{DRAFTS_MAX, Draft, FILES_OF_USER_MAX};
use crate::durable::SubmitKey;
use crate::effect::{Change, Effects, Refusal, Reply};
use crate::grid::Grid;
use crate::input::NewDraft;
use crate::money::Micros;

impl Grid {
    pub(crate) fn on_draft(&mut self, new: NewDraft, effects: &mut Effects) -> Reply {
        let NewDraft { user, key, name, submit } = new;
        let key = key.map(|key| ((user, key), body_hash(&name, &submit)));
        if let Some((key, body)) = &key
            && let Some(SubmitKey { job, body: kept, .. }) = self.submit_keys.get(key)
        {
            return if kept == body {
                Reply::Drafted { job: *job }
            } else {
                Reply::Refused(Refusal::KeyReused { job: *job })
            };
        }
        if let Some(refusal) = self.shut() {
            return Reply::Refused(refusal);
        }
        if !self.users.contains_key(&user) {
            return Reply::Refused(Refusal::NotFound);
        }
        if self.drafts_of.get(&user).is_some_and(|drafts| drafts.len() >= DRAFTS_MAX as usize) {
            return Reply::Refused(Refusal::TooManyDrafts { max: DRAFTS_MAX });
        }
        let id = JobId(self.last_job.0 + 1);
        self.last_job = id;
        let draft = Draft {
            id,
            owner: user,
            name,
            made_at: self.now,
            touched_at: self.now,
            revision: 0,
            files: BTreeMap::new(),
        };
        self.take_up_draft(draft.clone());
        effects.changes.push(Change::Drafted { draft, submit });
        if let Some((key, body)) = key {
            let until = self.now.plus_ms(self.policy.submit_key_ms);
            let kept = SubmitKey { job: id, held: Micros::ZERO, until, body };
            self.keep_submit_key(key, kept, effects);
        }
        Reply::Drafted { job: id }
    }

    /// As a draft is made, or found on disk.
    pub(crate) fn take_up_draft(&mut self, draft: Draft) {
        self.drafts_of.entry(draft.owner).or_default().insert(draft.id);
        self.draft_ends.renew(draft.id, draft.touched_at.plus_ms(self.policy.draft_ms));
        self.drafts.insert(draft.id, draft);
    }

    /// A draft of this user.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Launched` if it is none any more.
    pub(crate) fn own_draft(&self, user: UserId, id: JobId) -> Result<&Draft, Refusal> {
        let is_theirs = |owner: UserId| owner == user;
        if self.was_job(id) || self.jobs.get(&id).is_some_and(|job| is_theirs(job.owner)) {
            return Err(Refusal::Launched);
        }
        self.drafts.get(&id).filter(|draft| is_theirs(draft.owner)).ok_or(Refusal::NotFound)
    }

    pub(crate) fn on_put_files(
        &mut self,
        user: UserId,
        id: JobId,
        files: Vec<InputFile>,
        effects: &mut Effects,
    ) -> Reply {
        if let Some(refusal) = self.shut() {
            return Reply::Refused(refusal);
        }
        // Of two with one path, the later.
        let put: BTreeMap<&str, &InputFile> =
            files.iter().map(|file| (file.path.as_str(), file)).collect();
        if let Err(refusal) = self.may_put(user, id, &put) {
            return Reply::Refused(refusal);
        }
        let put: Vec<InputFile> = put.into_values().cloned().collect();
        self.change_draft(id, (put, Vec::new()), effects);
        Reply::Done
    }

    fn may_put(
        &self,
        user: UserId,
        id: JobId,
        put: &BTreeMap<&str, &InputFile>,
    ) -> Result<(), Refusal> {
        let draft = self.own_draft(user, id)?;
        let new = put.keys().filter(|path| !draft.files.contains_key(**path)).count();
        if draft.files.len() + new > INPUTS_MAX {
            return Err(Refusal::TooManyFiles { max: count(INPUTS_MAX) });
        }
        let of_user = self.drafts_of[&user].iter().map(|id| self.drafts[id].files.len());
        if of_user.sum::<usize>() + new > FILES_OF_USER_MAX {
            return Err(Refusal::TooManyFiles { max: count(FILES_OF_USER_MAX) });
        }
        let is_file = |path: &str| draft.files.contains_key(path) || put.contains_key(path);
        let directories: BTreeSet<&str> = put.keys().copied().flat_map(directories).collect();
        let has_beneath = |path: &str| {
            let first = format!("{path}/");
            let mut after = draft.files.range(first.clone()..);
            after.next().is_some_and(|(other, _)| other.starts_with(&first))
        };
        if directories.iter().any(|path| is_file(path)) || put.keys().any(|path| has_beneath(path))
        {
            return Err(Refusal::PathTaken);
        }
        Ok(())
    }

    pub(crate) fn on_remove_file(
        &mut self,
        user: UserId,
        id: JobId,
        path: String,
        effects: &mut Effects,
    ) -> Reply {
        match self.own_draft(user, id) {
            Ok(draft) if draft.files.contains_key(&path) => {}
            Ok(_) => return Reply::Refused(Refusal::NotFound),
            Err(refusal) => return Reply::Refused(refusal),
        }
        self.change_draft(id, (Vec::new(), vec![path]), effects);
        Reply::Done
    }

    fn change_draft(
        &mut self,
        id: JobId,
        (put, removed): (Vec<InputFile>, Vec<String>),
        effects: &mut Effects,
    ) {
        let draft = self.drafts.get_mut(&id).expect("the caller has looked it up");
        for path in &removed {
            draft.files.remove(path);
        }
        draft.files.extend(put.iter().map(|file| (file.path.clone(), file.blob.size_bytes)));
        draft.revision += 1;
        draft.touched_at = self.now;
        let (revision, at) = (draft.revision, self.now);
        self.draft_ends.renew(id, at.plus_ms(self.policy.draft_ms));
        effects.changes.push(Change::DraftChanged { job: id, put, removed, revision, at });
    }

    pub(crate) fn on_discard_draft(
        &mut self,
        user: UserId,
        id: JobId,
        effects: &mut Effects,
    ) -> Reply {
        if let Err(refusal) = self.own_draft(user, id) {
            return Reply::Refused(refusal);
        }
        self.discard_draft(id, effects);
        Reply::Done
    }

    /// Discards the drafts that nobody has touched for too long.
    pub(crate) fn forget_drafts(&mut self, effects: &mut Effects) {
        while let Some(id) = self.draft_ends.pop_over(self.now) {
            self.discard_draft(id, effects);
        }
    }

    fn discard_draft(&mut self, id: JobId, effects: &mut Effects) {
        self.end_draft(id);
        effects.changes.push(Change::DraftDiscarded { job: id, at: self.now });
    }

    /// It is a draft no longer, if it was one: it has been launched, or is discarded.
    pub(crate) fn end_draft(&mut self, id: JobId) {
        let Some(draft) = self.drafts.remove(&id) else { return };
        self.draft_ends.close(&id);
        let drafts = self.drafts_of.get_mut(&draft.owner).expect("a draft is one of its owner's");
        drafts.remove(&id);
        if drafts.is_empty() {
            self.drafts_of.remove(&draft.owner);
        }
    }
}

/// The directories that a file of this path lies in.
fn directories(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

fn count(files: usize) -> u32 {
    u32::try_from(files).unwrap_or(u32::MAX)
}

/// What a repeated request must equal; unlike any submit's.
fn body_hash(name: &str, submit: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in ["draft", name, submit] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    *hasher.finalize().as_bytes()
}
