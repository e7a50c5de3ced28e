//! Who is to be told of what, and what has come of it.

use campusgrid_protocol::id::UserId;

use crate::effect::{Change, Effects, NoticeKind, Refusal, Reply};
use crate::grid::Grid;
use crate::input::NoticeFate;
use crate::job::Job;
use crate::time::Timestamp;

/// Whoever wants to hear of this of a job is to be told.
pub(crate) fn notice(job: &Job, kind: NoticeKind, at: Timestamp, effects: &mut Effects) {
    let notify = &job.terms.notify;
    let is_wanted = match kind {
        NoticeKind::Started => notify.start,
        NoticeKind::Failed => notify.failure,
        NoticeKind::Ended => notify.end,
    };
    if is_wanted && notify.is_wanted() {
        effects.changes.push(Change::NoticeDue { job: job.id, kind, at });
    }
}

impl Grid {
    pub(crate) fn on_notices_tried(
        &self,
        tried: Vec<(u64, NoticeFate)>,
        effects: &mut Effects,
    ) -> Reply {
        let at = self.now;
        let changes =
            tried.into_iter().map(|(notice, fate)| Change::NoticeTried { notice, fate, at });
        effects.changes.extend(changes);
        Reply::Done
    }

    pub(crate) fn on_set_webhook_secret(
        &self,
        user: UserId,
        secret: String,
        effects: &mut Effects,
    ) -> Reply {
        if !self.users.contains_key(&user) {
            return Reply::Refused(Refusal::NotFound);
        }
        effects.changes.push(Change::WebhookSecretSet { user, secret, at: self.now });
        Reply::Done
    }
}
