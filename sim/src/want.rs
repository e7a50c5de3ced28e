//! What a person can want, and how they ask for it.

use std::sync::Arc;

use campusgrid_core::input::{Registration, Request, Submission, VoucherWish};
use campusgrid_core::time::Timestamp;
use campusgrid_core::user::Role;
use campusgrid_core::voucher::Purpose;
use campusgrid_core::worker::KeyHash;
use campusgrid_protocol::id::{JobId, UserId, VoucherId, VoucherSecret, WorkerId};
use campusgrid_protocol::task::TaskSpec;

use crate::agenda::Agenda;
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
    /// The name is also the key.
    Submit {
        name: String,
        spec: Arc<TaskSpec>,
    },
    Cancel {
        job: JobId,
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
            Self::Register | Self::Invite { .. } | Self::Release { .. } => true,
            Self::Submit { .. }
            | Self::Cancel { .. }
            | Self::Token { .. }
            | Self::Revoke { .. }
            | Self::Approve { .. }
            | Self::Remove { .. }
            | Self::SetRole { .. } => false,
        }
    }

    /// None while the person has no account or no such machine.
    pub(crate) fn request(&self, person: &Person, record: &Record) -> Option<Request> {
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
            Self::Submit { name, spec } => Request::Submit(Submission {
                user,
                key: Some(name.clone()),
                name: name.clone(),
                spec: (**spec).clone(),
            }),
            Self::Cancel { job } => Request::Cancel { user, job: *job },
            Self::Revoke { voucher } => Request::RevokeVoucher { user, voucher: *voucher },
            Self::Approve { code } => Request::ApproveWorker { user, code: code.clone() },
            Self::Remove { key_hash } => {
                Request::RemoveWorker { user, worker: record.worker_of(key_hash)? }
            }
            Self::SetRole { name, role } => {
                let other = record.user_of_name(name)?;
                Request::SetRole { by: user, user: other, role: *role }
            }
            Self::Release { worker } => Request::ReleaseWorker { user, worker: *worker },
        })
    }
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
