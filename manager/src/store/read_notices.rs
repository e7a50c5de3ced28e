//! Reads what somebody is to be told, and what it takes to tell them.

use campusgrid_core::effect::NoticeKind;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::{JobId, UserId};
use rusqlite::{Row, params};

use super::read::{Channel, Reader, StoredNotice, number};
use super::{StoreError, statements};

statements! {
    DUE = "SELECT notice.id, notice.job, job.name, job.owner, notice.kind, notice.at, notice.tries,
            notice.channel, user.email, json_extract(job_spec.terms, '$.notify.webhook'),
            user.webhook_secret, job.tasks, job.succeeded, job.failed, job.cancelled
        FROM notice JOIN job ON job.id = notice.job JOIN job_spec ON job_spec.job = job.id
        JOIN user ON user.id = job.owner
        WHERE notice.due_at <= ?1 AND notice.due_at IS NOT NULL ORDER BY notice.due_at LIMIT ?2";
    NEXT = "SELECT due_at FROM notice WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1";
    WEBHOOK_SECRET = "SELECT webhook_secret FROM user WHERE id = ?1";
    ADDRESS = "SELECT email FROM user WHERE id = ?1";
}

impl Reader {
    /// What is to be told now, what has waited longest first.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn notices_due(&self, now: Timestamp, limit: u32) -> Result<Vec<StoredNotice>, StoreError> {
        self.list("notices", DUE, params![number(now.0), limit], notice)
    }

    /// When the next notice is to be told; None if there is none.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn next_notice_at(&self) -> Result<Option<Timestamp>, StoreError> {
        self.first("notices", NEXT, params![], |row| row.get(0).map(Timestamp))
    }

    /// What a user's webhooks are signed with, if they have made a secret.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn webhook_secret(&self, user: UserId) -> Result<Option<String>, StoreError> {
        Ok(self.first("a secret", WEBHOOK_SECRET, params![user.0], |row| row.get(0))?.flatten())
    }

    /// The e-mail address of a user's account, if it has one.
    ///
    /// # Errors
    ///
    /// `Read`.
    pub fn address_of(&self, user: UserId) -> Result<Option<String>, StoreError> {
        Ok(self.first("an address", ADDRESS, params![user.0], |row| row.get(0))?.flatten())
    }
}

fn notice(row: &Row<'_>) -> rusqlite::Result<StoredNotice> {
    let kind: String = row.get(4)?;
    let kind = match kind.as_str() {
        "started" => NoticeKind::Started,
        "failed" => NoticeKind::Failed,
        _ => NoticeKind::Ended,
    };
    let channel: String = row.get(7)?;
    let channel = if channel == "mail" {
        Channel::Mail { address: row.get(8)? }
    } else {
        Channel::Webhook { url: row.get(9)?, secret: row.get(10)? }
    };
    Ok(StoredNotice {
        id: row.get(0)?,
        job: JobId(row.get(1)?),
        name: row.get(2)?,
        owner: UserId(row.get(3)?),
        kind,
        at: Timestamp(row.get(5)?),
        tries: row.get(6)?,
        channel,
        tasks: row.get(11)?,
        succeeded: row.get(12)?,
        failed: row.get(13)?,
        cancelled: row.get(14)?,
    })
}
