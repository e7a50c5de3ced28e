//! Submitting: what a new job, or a draft that is launched, leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campusgrid_protocol::frame;
use campusgrid_protocol::id::{JobId, UserId};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::terms::Sale;

use crate::chain::Edges;
use crate::durable::SubmitKey;
use crate::effect::{Change, Effects, NewJob, Refusal, Reply};
use crate::grid::Grid;
use crate::input::{FilesOf, Submission};
use crate::job::{EndedTasks, Job};
use crate::ledger::{Hold, TransferKey};
use crate::market::Market;
use crate::money::Micros;
use crate::pricing::quote;

/// A job that may begin.
struct Admitted {
    id: JobId,
    quote: Micros,
    held: Micros,
    rate_permille: u32,
    edges: Edges,
}

impl Grid {
    pub(crate) fn on_submit(&mut self, mut new: Submission, effects: &mut Effects) -> Reply {
        assert!(new.spec.tasks > 0, "a job of no tasks would never end");
        assert!(new.spec.tasks == new.terms.indices.len(), "every task has an index");
        let key = new.key.take().map(|key| ((new.user, key), body_hash(&new)));
        if let Some((key, body)) = &key
            && let Some(kept) = self.submit_keys.get(key)
        {
            let SubmitKey { job, held, .. } = *kept;
            return if kept.body == *body {
                Reply::Submitted { job, held }
            } else {
                Reply::Refused(Refusal::KeyReused { job })
            };
        }
        let admitted = match self.admit_job(&mut new, effects) {
            Ok(admitted) => admitted,
            Err(refusal) => return Reply::Refused(refusal),
        };
        let (id, held) = (admitted.id, admitted.held);
        self.begin_job(new, admitted, effects);
        if let Some((key, body)) = key {
            let until = self.now.plus_ms(self.policy.submit_key_ms);
            self.keep_submit_key(key, SubmitKey { job: id, held, until, body }, effects);
        }
        Reply::Submitted { job: id, held }
    }

    /// Holds what a job may cost, if it may begin.
    fn admit_job(
        &mut self,
        new: &mut Submission,
        effects: &mut Effects,
    ) -> Result<Admitted, Refusal> {
        let (user, tasks) = (new.user, new.spec.tasks);
        if let Some(refusal) = self.shut() {
            return Err(refusal);
        }
        if !self.users.contains_key(&user) {
            return Err(Refusal::NotFound);
        }
        let max = self.policy.active_jobs_max;
        if self.jobs_of.get(&user).is_some_and(|jobs| jobs.len() >= max as usize) {
            return Err(Refusal::TooManyJobs { max });
        }
        if new.terms.deadline_at_ms.is_some_and(|deadline| deadline <= self.now.0) {
            return Err(Refusal::DeadlineOver);
        }
        let id = self.number_for(user, new.files)?;
        let edges = self.settle_after((user, tasks), std::mem::take(&mut new.after), &new.ended)?;
        let is_sold = new.terms.sale != Sale::Formula;
        let is_plain = tasks == 1 && new.terms.runs() == 1 && edges.is_none() && !new.on_hold;
        if is_sold && !is_plain {
            return Err(Refusal::OnMarket);
        }
        let rate_permille = self.rate_permille();
        let quote = match new.terms.sale {
            Sale::Formula => {
                let spec = &new.spec;
                quote(&self.policy.prices, &spec.needs, spec.limit_ms(), rate_permille)
            }
            Sale::Hand => Micros::ZERO,
            Sale::Rule { max_price_micros, .. } => Micros(max_price_micros.max(0)),
        };
        let runs = tasks.checked_mul(new.terms.runs().into());
        let held = runs.and_then(|runs| quote.checked_times(runs)).ok_or(Refusal::PriceOverflow)?;
        self.ledger
            .hold(
                Hold { key: TransferKey::Hold(id), user, amount: held },
                self.now,
                &mut effects.changes,
            )
            .map_err(Refusal::Insufficient)?;
        Ok(Admitted { id, quote, held, rate_permille, edges })
    }

    /// A new number, or that of the draft that is launched.
    fn number_for(&self, user: UserId, files: FilesOf) -> Result<JobId, Refusal> {
        match files {
            FilesOf::None | FilesOf::Job(_) => Ok(JobId(self.last_job.0 + 1)),
            FilesOf::Draft { job, revision } => {
                let draft = self.own_draft(user, job)?;
                if draft.revision == revision { Ok(job) } else { Err(Refusal::Moved) }
            }
        }
    }

    fn begin_job(&mut self, new: Submission, admitted: Admitted, effects: &mut Effects) {
        let Submission { user, name, spec, terms, priority, on_hold, files, .. } = new;
        let Admitted { id, quote, rate_permille, edges, .. } = admitted;
        self.last_job = self.last_job.max(id);
        self.end_draft(id);
        let job = Job {
            id,
            owner: user,
            name,
            untouched: Ranges::below(spec.tasks),
            market: Market::of(&terms, self.now),
            spec: Arc::new(spec),
            terms: Arc::new(terms),
            quote,
            rate_permille,
            submitted_at: self.now,
            priority,
            on_hold,
            after: edges.open,
            tasks: BTreeMap::new(),
            requeued: BTreeSet::new(),
            ended: EndedTasks::default(),
            lock: None,
            cancelling: false,
        };
        effects.changes.push(Change::JobSubmitted(Box::new(NewJob {
            id,
            owner: user,
            name: job.name.clone(),
            spec: Arc::clone(&job.spec),
            terms: Arc::clone(&job.terms),
            priority,
            on_hold,
            after: job.after.clone(),
            files,
            quote,
            rate_permille,
            market: job.market.clone(),
            at: self.now,
        })));
        self.jobs_of.entry(user).or_default().insert(id);
        self.chains.begin(&job);
        self.watch_deadline(&job);
        self.markets.begin(&job);
        self.jobs.insert(id, job);
        self.begin_lineup(id);
        for (tasks, reason) in edges.broken {
            self.cancel_untouched(id, &tasks, Some(reason), effects);
        }
        self.line_up(id);
        self.bid_by_asks(id, effects);
    }

    pub(crate) fn keep_submit_key(
        &mut self,
        (user, key): (UserId, String),
        kept: SubmitKey,
        effects: &mut Effects,
    ) {
        self.submit_keys.insert((user, key.clone()), kept);
        self.submit_key_ends.insert((kept.until, user, key.clone()));
        effects.changes.push(Change::SubmitKeyKept { user, key, kept });
    }

    pub(crate) fn forget_submit_keys(&mut self, effects: &mut Effects) {
        while let Some((until, user, key)) = self.submit_key_ends.pop_first() {
            if until > self.now {
                self.submit_key_ends.insert((until, user, key));
                return;
            }
            self.submit_keys.remove(&(user, key.clone()));
            effects.changes.push(Change::SubmitKeyForgotten { user, key });
        }
    }
}

/// What a repeated submit must equal. Of a draft that is launched it is the number alone: once it is a
/// job, nobody can read anew what it was made of.
fn body_hash(new: &Submission) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    match new.files {
        FilesOf::Draft { job, revision: _ } => part(format!("launch {job}").as_bytes()),
        FilesOf::None | FilesOf::Job(_) => {
            part(new.name.as_bytes());
            part(&frame::encode(&new.spec).expect("a checked spec fits a message"));
            part(&frame::encode(&new.terms).expect("checked terms fit a message"));
            part(
                format!("{} {} {:?} {:?}", new.priority, new.on_hold, new.after, new.files)
                    .as_bytes(),
            );
        }
    }
    *hasher.finalize().as_bytes()
}
