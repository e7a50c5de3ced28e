//! What a person can want, and how they ask for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use campusgrid_core::ask::Ask;
use campusgrid_core::input::{FilesOf, NewDraft, Registration, Request, Submission, VoucherWish};
use campusgrid_core::money::Micros;
use campusgrid_core::time::Timestamp;
use campusgrid_core::user::Role;
use campusgrid_core::voucher::Purpose;
use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::id::{BlobHash, JobId, UserId, VoucherId, VoucherSecret, WorkerId};
use campusgrid_protocol::input::{InputFile, Manifest};
use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::rules::Rules;
use campusgrid_protocol::task::BlobRef;
use campusgrid_protocol::terms::Terms;

use crate::agenda::Agenda;
use crate::plan::Plan;
use crate::record::Record;
use crate::users::Person;

#[derive(Debug, Clone)]
pub(crate) enum Want {
    Register,
    /// An operator lets others in.
    Invite {
        secret: VoucherSecret,
        uses: u32,
    },
    /// The name is also the key. Of a draft, if that is to be launched.
    Submit {
        name: String,
        plan: Arc<Plan>,
        draft: Option<JobId>,
    },
    /// A job that is to get files first. Its name with a dot is the key.
    Draft {
        name: String,
        plan: Arc<Plan>,
    },
    Put {
        job: JobId,
        path: String,
    },
    RemoveFile {
        job: JobId,
        path: String,
    },
    Discard {
        job: JobId,
    },
    Cancel {
        job: JobId,
    },
    /// Some of its tasks, by position.
    CancelTasks {
        job: JobId,
        tasks: Ranges,
    },
    CancelAll,
    Hold {
        job: JobId,
    },
    Unhold {
        job: JobId,
    },
    Prefer {
        job: JobId,
        priority: i8,
    },
    /// To join these machines by, good for so long after it is asked for.
    Token {
        secret: VoucherSecret,
        uses: u32,
        for_ms: u64,
        machines: Vec<usize>,
    },
    Revoke {
        voucher: VoucherId,
    },
    Approve {
        code: String,
    },
    /// Whatever machine has this key.
    Remove {
        key_hash: KeyHash,
    },
    Release {
        worker: WorkerId,
    },
    /// The rules of a machine of theirs.
    SetRules {
        key_hash: KeyHash,
        rules: Box<Rules>,
    },
    SetAsk {
        key_hash: KeyHash,
        ask: Ask,
    },
    /// With some machine of theirs.
    Bid {
        job: JobId,
        /// Which one.
        pick: usize,
        price: Micros,
        start_within_s: u32,
    },
    WithdrawBid {
        job: JobId,
    },
    /// The cheapest bid that stands.
    Accept {
        job: JobId,
    },
    /// An operator makes somebody else one, or no longer.
    SetRole {
        name: String,
        role: Role,
    },
}

impl Want {
    /// Lets in everybody who has no account yet.
    pub(crate) fn invite(people: usize, agenda: &mut Agenda) -> Self {
        let uses = u32::try_from(people).expect("they are few");
        Self::Invite { secret: secret(agenda), uses }
    }

    /// Whether they never give it up, since without it nothing would ever end.
    pub(crate) fn is_stubborn(&self) -> bool {
        match self {
            Self::Register | Self::Invite { .. } | Self::Release { .. } | Self::Unhold { .. } => {
                true
            }
            Self::Submit { .. }
            | Self::Draft { .. }
            | Self::Put { .. }
            | Self::RemoveFile { .. }
            | Self::Discard { .. }
            | Self::Cancel { .. }
            | Self::CancelTasks { .. }
            | Self::CancelAll
            | Self::Hold { .. }
            | Self::Prefer { .. }
            | Self::Token { .. }
            | Self::Revoke { .. }
            | Self::Approve { .. }
            | Self::Remove { .. }
            | Self::SetRules { .. }
            | Self::SetAsk { .. }
            | Self::Bid { .. }
            | Self::WithdrawBid { .. }
            | Self::Accept { .. }
            | Self::SetRole { .. } => false,
        }
    }

    /// None while the person has no account or no such machine. The deadline is that of a job to
    /// submit.
    pub(crate) fn request(
        &self,
        person: &Person,
        deadline_at_ms: Option<u64>,
        record: &Record,
    ) -> Option<Request> {
        if let Self::Register = self {
            return Some(Request::Register(Registration {
                name: person.name.clone(),
                email: None,
                password_hash: "secret".to_owned(),
                local: person.local,
                invitation: person.invitation,
            }));
        }
        let user = person.id?;
        Some(match self {
            Self::Register => return None,
            Self::Invite { secret, uses } => {
                voucher(user, Purpose::Invitation { by: user }, *secret, (*uses, LASTS_MS), record)
            }
            Self::Token { secret, uses, for_ms, .. } => {
                let purpose = Purpose::Join { owner: user };
                voucher(user, purpose, *secret, (*uses, *for_ms), record)
            }
            Self::Submit { name, plan, draft } => {
                let terms = Terms { deadline_at_ms, ..plan.terms.clone() };
                submission((user, name), (plan, terms), *draft, record)
            }
            Self::Draft { name, .. } => Request::Draft(NewDraft {
                user,
                key: Some(format!("{name}.")),
                name: name.clone(),
                submit: "{}".to_owned(),
            }),
            Self::Put { job, path } => {
                let hash = BlobHash(*blake3::hash(path.as_bytes()).as_bytes());
                let blob = BlobRef { hash, size_bytes: path.len() as u64 };
                let file = InputFile { path: path.clone(), blob, executable: false };
                Request::PutFiles { user, job: *job, files: vec![file] }
            }
            Self::RemoveFile { job, path } => {
                Request::RemoveFile { user, job: *job, path: path.clone() }
            }
            Self::Discard { job } => Request::DiscardDraft { user, job: *job },
            Self::Cancel { job } => Request::Cancel { user, job: *job, tasks: None },
            Self::CancelTasks { job, tasks } => {
                Request::Cancel { user, job: *job, tasks: Some(tasks.clone()) }
            }
            Self::CancelAll => Request::CancelAll { user },
            Self::Hold { job } => Request::SetHold { user, job: *job, on_hold: true },
            Self::Unhold { job } => Request::SetHold { user, job: *job, on_hold: false },
            Self::Prefer { job, priority } => {
                Request::SetPriority { user, job: *job, priority: *priority }
            }
            Self::Revoke { voucher } => Request::RevokeVoucher { user, voucher: *voucher },
            Self::Approve { code } => Request::ApproveWorker { user, code: code.clone() },
            Self::Remove { key_hash } => {
                Request::RemoveWorker { user, worker: record.worker_of(key_hash)? }
            }
            Self::SetRules { key_hash, rules } => {
                let worker = record.worker_of(key_hash)?;
                Request::SetRules { user, worker, rules: rules.clone() }
            }
            Self::SetAsk { key_hash, ask } => {
                Request::SetAsk { user, worker: record.worker_of(key_hash)?, ask: *ask }
            }
            Self::Bid { job, pick, price, start_within_s } => Request::Bid {
                user,
                job: *job,
                worker: record.machine_of(user, *pick)?,
                price: *price,
                start_within_s: *start_within_s,
            },
            Self::WithdrawBid { job } => {
                let bids = &record.jobs.get(job)?.bids;
                let own = |worker: &&WorkerId| record.owner_of(**worker) == Some(user);
                Request::WithdrawBid { user, job: *job, worker: *bids.keys().find(own)? }
            }
            Self::Accept { job } => {
                let bids = record.jobs.get(job)?.bids.iter();
                let (&worker, bid) = bids.min_by_key(|(_, bid)| bid.price)?;
                Request::Accept { user, job: *job, worker, price: bid.price }
            }
            Self::SetRole { name, role } => {
                let other = record.user_of_name(name)?;
                Request::SetRole { by: user, user: other, role: *role }
            }
            Self::Release { worker } => Request::ReleaseWorker { user, worker: *worker },
        })
    }
}

/// As the web makes it: with how those jobs ended that it waits for, as far as the disk knows.
fn submission(
    (user, name): (UserId, &str),
    (plan, terms): (&Plan, Terms),
    draft: Option<JobId>,
    record: &Record,
) -> Request {
    let mut spec = plan.spec.clone();
    let mut files = FilesOf::None;
    if let Some(job) = draft {
        let known = record.drafts.get(&job);
        files = FilesOf::Draft { job, revision: known.map_or(0, |draft| draft.revision) };
        spec.inputs = known.and_then(|draft| manifest(&draft.files));
    }
    let over = plan.after.iter().filter_map(|after| Some((after.job, record.ended(after.job)?)));
    Request::Submit(Box::new(Submission {
        user,
        key: Some(name.to_owned()),
        name: name.to_owned(),
        spec,
        terms,
        priority: plan.priority,
        on_hold: plan.on_hold,
        after: plan.after.clone(),
        ended: over.collect(),
        files,
    }))
}

/// Of all files of a draft, if it has any.
fn manifest(files: &BTreeMap<String, InputFile>) -> Option<BlobRef> {
    let manifest = Manifest::check(files.values().cloned().collect());
    let bytes = manifest.expect("the grid took no paths that collide").encode();
    let hash = BlobHash(*blake3::hash(&bytes).as_bytes());
    (!files.is_empty()).then_some(BlobRef { hash, size_bytes: bytes.len() as u64 })
}

pub(crate) fn secret(agenda: &mut Agenda) -> VoucherSecret {
    VoucherSecret(agenda.dice.u128(..).to_le_bytes())
}

/// Longer than any world.
const LASTS_MS: u64 = 24 * 3600 * 1000;

fn voucher(
    by: UserId,
    purpose: Purpose,
    secret: VoucherSecret,
    (uses, for_ms): (u32, u64),
    record: &Record,
) -> Request {
    let secret_hash = *blake3::hash(&secret.0).as_bytes();
    let until = Timestamp(record.newest.0).plus_ms(for_ms);
    Request::MakeVoucher(VoucherWish { by, purpose, secret_hash, uses, until })
}
