//! Writes what changed, and the events that tell of it, in one transaction. What changes about jobs is in
//! `write_jobs`, about tasks in `write_tasks` and `write_runs`, about bids and machines in `write_market`,
//! about people in `write_people`.

use campusgrid_core::durable::SubmitKey;
use campusgrid_core::effect::Change;
use campusgrid_core::ledger::Transfer;
use campusgrid_core::user::Role;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::task::Stream;
use rusqlite::{Connection, Params, params};

use super::batch::Batch;
use super::event::{CROWD, Event, Told};
use super::numbering::{Numbering, Numberings};
use super::{Store, StoreError, statements};

statements! {
    TRANSFER_NEW = "INSERT INTO transfer (id, key, debit, credit, amount, at, job, hash)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    SUBMIT_KEY_NEW = "INSERT INTO submit_key (owner, key, job, held, until, body)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    SUBMIT_KEY_FORGET = "DELETE FROM submit_key WHERE owner = ?1 AND key = ?2";
    WORKER_RENAME = "UPDATE worker SET name = ?2 WHERE id = ?1";
    WORKER_SET_ASIDE = "UPDATE worker SET set_aside = ?2 WHERE id = ?1";
    WORKER_REMOVE = "UPDATE worker SET removed_at = ?2 WHERE id = ?1";
    // One that takes the place of another has a number of its own, for viewers that have seen that.
    EVENT_NEW = "INSERT OR REPLACE INTO event (at, job, kind, message, newest_only)
        VALUES (?1, ?2, ?3, ?4, ?5)";
}

impl Store {
    /// Writes a batch of changes and yields the number of the newest event, if there was one.
    ///
    /// # Errors
    ///
    /// `Commit`; nothing of the batch is then on disk, and the caller must not go on.
    pub fn commit(&mut self, changes: &[Change]) -> Result<Option<u64>, StoreError> {
        self.write(changes).map_err(|source| StoreError::Commit { changes: changes.len(), source })
    }

    fn write(&mut self, changes: &[Change]) -> rusqlite::Result<Option<u64>> {
        let transaction = self.connection.transaction()?;
        let mut writer = Writer {
            connection: &transaction,
            numberings: &mut self.numberings,
            batch: Batch::default(),
            newest_event: None,
        };
        for change in changes {
            writer.change(change)?;
            writer.tell(change)?;
        }
        writer.batch.write(&transaction, writer.numberings)?;
        writer.tell_of_crowds()?;
        let newest = writer.newest_event;
        transaction.commit()?;
        for change in changes {
            if let Change::JobEnded { job, .. } = change {
                self.numberings.forget(*job);
            }
        }
        Ok(newest)
    }
}

pub(super) struct Writer<'a> {
    pub(super) connection: &'a Connection,
    pub(super) numberings: &'a mut Numberings,
    pub(super) batch: Batch,
    newest_event: Option<u64>,
}

impl Writer<'_> {
    pub(super) fn run(&self, sql: &str, values: impl Params) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute(values).map(drop)
    }

    pub(super) fn numbering(&mut self, job: JobId) -> rusqlite::Result<&Numbering> {
        self.numberings.of(self.connection, job)
    }

    fn change(&mut self, change: &Change) -> rusqlite::Result<()> {
        match change {
            Change::UserRegistered { .. }
            | Change::PasswordChanged { .. }
            | Change::PasswordRehashed { .. }
            | Change::RoleSet { .. }
            | Change::LoginOpened { .. }
            | Change::LoginClosed { .. }
            | Change::LoginRevoked { .. }
            | Change::LoginsRevoked { .. }
            | Change::LoginsOver { .. }
            | Change::ApiTokenOpened { .. }
            | Change::ApiTokenRevoked { .. }
            | Change::Used { .. }
            | Change::WebhookSecretSet { .. }
            | Change::VoucherMade(_)
            | Change::VoucherUsed { .. }
            | Change::VoucherOver { .. }
            | Change::UserVerified { .. } => self.person_change(change),
            Change::Account { id, account } => {
                self.batch.account(*id, *account);
                Ok(())
            }
            Change::Transferred(transfer) => self.transfer(transfer),
            Change::SubmitKeyKept { user, key, kept } => {
                let SubmitKey { job, held, until, body } = kept;
                self.run(SUBMIT_KEY_NEW, params![user.0, key, job.0, held.0, until.0, body])
            }
            Change::SubmitKeyForgotten { user, key } => {
                self.run(SUBMIT_KEY_FORGET, params![user.0, key])
            }
            Change::JobSubmitted(_)
            | Change::JobLocked { .. }
            | Change::AfterMet { .. }
            | Change::JobHoldSet { .. }
            | Change::JobPrioritySet { .. }
            | Change::Drafted { .. }
            | Change::DraftChanged { .. }
            | Change::DraftDiscarded { .. }
            | Change::JobCancelling { .. }
            | Change::JobEnded { .. }
            | Change::JobEmptied { .. }
            | Change::NoticeDue { .. }
            | Change::NoticeTried { .. } => self.job_change(change),
            Change::TaskLeased { .. }
            | Change::AttemptStarted { .. }
            | Change::TaskCancelling { .. }
            | Change::TaskRequeued { .. }
            | Change::TaskPausing(_)
            | Change::TaskRoused { .. }
            | Change::TaskEnded(_)
            | Change::UntouchedCancelled { .. } => self.task_change(change),
            Change::AttemptPaid { .. }
            | Change::CheckpointSaved { .. }
            | Change::CheckpointDropped { .. }
            | Change::TaskChecking(_) => self.run_change(change),
            Change::WorkerApproved { .. }
            | Change::WorkerRulesSet { .. }
            | Change::WorkerAskSet { .. }
            | Change::WorkerRecord { .. }
            | Change::BidPlaced { .. }
            | Change::BidOver { .. }
            | Change::JobAwarded { .. }
            | Change::JobReopened { .. } => self.market_change(change),
            Change::WorkerRenamed { worker, name } => {
                self.run(WORKER_RENAME, params![worker.0, name])
            }
            Change::WorkerRemoved { worker, at } => {
                self.run(WORKER_REMOVE, params![worker.0, at.0])
            }
            Change::WorkerSetAside { worker, reason, at: _ } => {
                self.run(WORKER_SET_ASIDE, params![worker.0, reason])
            }
        }
    }

    fn transfer(&self, transfer: &Transfer) -> rusqlite::Result<()> {
        let Transfer { id, key, from, to, amount, at, hash } = transfer;
        let job = key.job().map(|job| job.0);
        let values =
            params![id, key.to_string(), from.code(), to.code(), amount.0, at.0, job, hash];
        self.run(TRANSFER_NEW, values)
    }

    fn tell(&mut self, change: &Change) -> rusqlite::Result<()> {
        match Told::of(change) {
            Told::Nothing => Ok(()),
            Told::Event(event) => self.event(&event),
            Told::Task(event) => {
                let numbering = self.numbering(event.task.job)?;
                if numbering.tasks > CROWD {
                    self.batch.crowd(event.task.job, event.kind, event.task.index, event.at);
                    return Ok(());
                }
                let index = numbering.index(event.task.index);
                self.event(&event.alone(index))
            }
        }
    }

    fn tell_of_crowds(&mut self) -> rusqlite::Result<()> {
        for ((job, kind), (positions, at)) in std::mem::take(&mut self.batch.crowds) {
            let event = kind.of_crowd(job, &positions, at, self.numbering(job)?);
            self.event(&event)?;
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> rusqlite::Result<()> {
        let Event { at, job, kind, message, newest_only } = event;
        tracing::debug!(job.id = job, event = kind, "{message}");
        self.run(EVENT_NEW, params![at.0, job, kind, message, newest_only])?;
        self.newest_event = u64::try_from(self.connection.last_insert_rowid()).ok();
        Ok(())
    }
}

/// A measurement that a worker reports may be any number; SQLite's are signed.
pub(super) fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Operator => "operator",
    }
}

pub(super) fn stream_name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}
