//! What the engine is asked about jobs, drafts and what people are told of them.

use campusgrid_core::effect::Reply;
use campusgrid_core::input::{NewDraft, NoticeFate, Request, Submission};
use campusgrid_core::money::Micros;
use campusgrid_protocol::id::{JobId, UserId};
use campusgrid_protocol::input::InputFile;
use campusgrid_protocol::ranges::Ranges;

use super::{AskError, EngineHandle, unexpected};

impl EngineHandle {
    /// Submits a job, whose form is checked already: a new one, a draft that is launched, or tasks of
    /// another that are run again. A `key` that this user has used before finds the job of then.
    /// Yields the job and what is held for it.
    ///
    /// # Errors
    ///
    /// `Refused` with `Insufficient`, `TooManyJobs`, `PriceOverflow`, `KeyReused`, `NotFound`,
    /// `Launched`, `Moved`, `AfterUnknown`, `NeverStarts`, `SizesDiffer`, `DeadlineOver`, `DiskFull` or
    /// `BooksBroken`; `Busy`, `Stopping`.
    pub async fn submit(&self, submission: Submission) -> Result<(JobId, Micros), AskError> {
        let reply = self.ask(Request::Submit(Box::new(submission))).await?;
        let Reply::Submitted { job, held } = reply else { unexpected(&reply) };
        Ok((job, held))
    }

    /// Makes a job that waits for files and to be launched. A `key` that this user has used before
    /// finds what it led to then.
    ///
    /// # Errors
    ///
    /// `Refused` with `TooManyDrafts`, `KeyReused` or `DiskFull`; `Busy`, `Stopping`.
    pub async fn draft(&self, draft: NewDraft) -> Result<JobId, AskError> {
        let reply = self.ask(Request::Draft(draft)).await?;
        let Reply::Drafted { job } = reply else { unexpected(&reply) };
        Ok(job)
    }

    /// Adds files to a draft, all or none; one takes the place of another with its path. Their blobs
    /// are on disk already.
    ///
    /// # Errors
    ///
    /// `Refused` with `NotFound`, `Launched`, `TooManyFiles`, `PathTaken` or `DiskFull`; `Busy`,
    /// `Stopping`.
    pub async fn put_files(
        &self,
        user: UserId,
        job: JobId,
        files: Vec<InputFile>,
    ) -> Result<(), AskError> {
        self.ask(Request::PutFiles { user, job, files }).await.map(drop)
    }

    /// Takes a file out of a draft.
    ///
    /// # Errors
    ///
    /// `Refused` with `NotFound` or `Launched`; `Busy`, `Stopping`.
    pub async fn remove_file(
        &self,
        user: UserId,
        job: JobId,
        path: String,
    ) -> Result<(), AskError> {
        self.ask(Request::RemoveFile { user, job, path }).await.map(drop)
    }

    /// Drops a draft and its files.
    ///
    /// # Errors
    ///
    /// `Refused` with `NotFound` or `Launched`; `Busy`, `Stopping`.
    pub async fn discard_draft(&self, user: UserId, job: JobId) -> Result<(), AskError> {
        self.ask(Request::DiscardDraft { user, job }).await.map(drop)
    }

    /// Cancels all tasks of a job that have not ended, or those of them at some positions.
    ///
    /// # Errors
    ///
    /// `Refused` with `NotFound` or `HasEnded`; `Busy`, `Stopping`.
    pub async fn cancel(
        &self,
        user: UserId,
        job: JobId,
        tasks: Option<Ranges>,
    ) -> Result<(), AskError> {
        self.ask(Request::Cancel { user, job, tasks }).await.map(drop)
    }

    /// Cancels all of a user's jobs that have not ended; yields how many.
    ///
    /// # Errors
    ///
    /// `Busy`, `Stopping`.
    pub async fn cancel_all(&self, user: UserId) -> Result<u32, AskError> {
        let reply = self.ask(Request::CancelAll { user }).await?;
        let Reply::Cancelled { jobs } = reply else { unexpected(&reply) };
        Ok(jobs)
    }

    /// Keeps what waits of a job from starting, or no longer.
    ///
    /// # Errors
    ///
    /// `Refused` with `NotFound` or `HasEnded`; `Busy`, `Stopping`.
    pub async fn set_hold(&self, user: UserId, job: JobId, on_hold: bool) -> Result<(), AskError> {
        self.ask(Request::SetHold { user, job, on_hold }).await.map(drop)
    }

    /// Places a job among those of its owner: higher goes first.
    ///
    /// # Errors
    ///
    /// `Refused` with `NotFound` or `HasEnded`; `Busy`, `Stopping`.
    pub async fn set_priority(
        &self,
        user: UserId,
        job: JobId,
        priority: i8,
    ) -> Result<(), AskError> {
        self.ask(Request::SetPriority { user, job, priority }).await.map(drop)
    }

    /// Removes the rows of files and logs of jobs that have ended; their blobs are for the sweep. Jobs
    /// that have not ended are passed over. Who asked may.
    ///
    /// # Errors
    ///
    /// `Busy`, `Stopping`.
    pub async fn empty_jobs(&self, jobs: Vec<JobId>) -> Result<(), AskError> {
        self.ask(Request::EmptyJobs { jobs }).await.map(drop)
    }

    /// Notes what has become of notices, by their numbers.
    ///
    /// # Errors
    ///
    /// `Busy`, `Stopping`.
    pub async fn notices_tried(&self, tried: Vec<(u64, NoticeFate)>) -> Result<(), AskError> {
        self.ask(Request::NoticesTried { tried }).await.map(drop)
    }

    /// Sets what a user's webhooks are signed with from now on.
    ///
    /// # Errors
    ///
    /// `Refused(NotFound)` for no user; `Busy`, `Stopping`.
    pub async fn set_webhook_secret(&self, user: UserId, secret: String) -> Result<(), AskError> {
        self.ask(Request::SetWebhookSecret { user, secret }).await.map(drop)
    }
}
