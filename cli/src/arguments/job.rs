//! The words of commands that look at jobs and change them.

use std::path::PathBuf;
use std::str::FromStr;

use campusgrid_protocol::ranges::Ranges;
use campusgrid_protocol::rest::{JobState, TaskState, WorkKind};
use campusgrid_protocol::task::Stream;
use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub struct Jobs {
    /// Only those in these states
    #[arg(long, short, value_delimiter = ',', value_name = "STATE,…")]
    pub state: Vec<State>,
    /// Only those in this language
    #[arg(long)]
    pub kind: Option<Kind>,
    /// Only those with this in their name
    #[arg(long, value_name = "PART")]
    pub name: Option<String>,
    /// Of all users, for operators
    #[arg(long)]
    pub everyone: bool,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT")]
    pub limit: u32,
    /// All of them
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    Draft,
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl From<State> for JobState {
    fn from(state: State) -> Self {
        match state {
            State::Draft => Self::Draft,
            State::Queued => Self::Queued,
            State::Running => Self::Running,
            State::Succeeded => Self::Succeeded,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Python,
    C,
    Shell,
}

impl From<Kind> for WorkKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Python => Self::Python,
            Kind::C => Self::C,
            Kind::Shell => Self::Shell,
        }
    }
}

#[derive(Debug, Args)]
pub struct OneJob {
    pub job: u64,
}

#[derive(Debug, Args)]
pub struct ManyJobs {
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<u64>,
}

#[derive(Debug, Args)]
pub struct Tasks {
    pub job: u64,
    /// Only those in this state
    #[arg(long, short)]
    pub state: Option<OfTask>,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 50, value_name = "COUNT")]
    pub limit: u32,
    /// From this index on
    #[arg(long, default_value_t = 0, value_name = "INDEX")]
    pub from: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OfTask {
    Queued,
    Pausing,
    Preparing,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl From<OfTask> for TaskState {
    fn from(state: OfTask) -> Self {
        match state {
            OfTask::Queued => Self::Queued,
            OfTask::Pausing => Self::Pausing,
            OfTask::Preparing => Self::Preparing,
            OfTask::Running => Self::Running,
            OfTask::Succeeded => Self::Succeeded,
            OfTask::Failed => Self::Failed,
            OfTask::Cancelled => Self::Cancelled,
        }
    }
}

/// A job, and maybe some of its tasks: `12`, `12:3`, `12:3,10-20`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobTasks {
    pub job: u64,
    pub tasks: Option<String>,
}

impl FromStr for JobTasks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (job, tasks) = match text.split_once(':') {
            Some((job, tasks)) => (job, Some(tasks.to_owned())),
            None => (text, None),
        };
        let wrong = || format!("{text:?} is no job such as 12 or 12:3,10-20");
        let tasks_are_good = tasks.as_ref().is_none_or(|tasks| {
            let ranges: Result<Ranges, _> = tasks.parse();
            ranges.is_ok_and(|ranges| !ranges.is_empty())
        });
        let job = job.parse().ok().filter(|_| tasks_are_good).ok_or_else(wrong)?;
        Ok(Self { job, tasks })
    }
}

#[derive(Debug, Args)]
pub struct Logs {
    /// The job, and the index of its task if it has several: 12, 12:3
    #[arg(value_name = "JOB[:INDEX]")]
    pub job: JobTasks,
    /// Go on as long as it prints
    #[arg(long, short)]
    pub follow: bool,
    /// Only this stream [default: each on its own]
    #[arg(long)]
    pub stream: Option<OneStream>,
    /// Of this run of the task [default: the last]
    #[arg(long, value_name = "NUMBER", conflicts_with = "follow")]
    pub attempt: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OneStream {
    Stdout,
    Stderr,
}

impl From<OneStream> for Stream {
    fn from(stream: OneStream) -> Self {
        match stream {
            OneStream::Stdout => Self::Stdout,
            OneStream::Stderr => Self::Stderr,
        }
    }
}

#[derive(Debug, Args)]
pub struct Cancel {
    /// Jobs, or tasks of them: 12, 12:3,10-20
    #[arg(value_name = "JOB[:INDICES]", required_unless_present = "all")]
    pub jobs: Vec<JobTasks>,
    /// All of one's jobs that have not ended
    #[arg(long, conflicts_with = "jobs")]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct Priority {
    pub job: u64,
    /// -100 to 100; higher goes first
    #[arg(allow_hyphen_values = true)]
    pub priority: i8,
}

#[derive(Debug, Args)]
pub struct Files {
    /// The job, and maybe some of its tasks: 12, 12:3
    #[arg(value_name = "JOB[:INDICES]")]
    pub job: JobTasks,
    /// Only what the job brought
    #[arg(long, conflicts_with = "outputs")]
    pub inputs: bool,
    /// Only what its tasks left
    #[arg(long)]
    pub outputs: bool,
}

#[derive(Debug, Args)]
pub struct Get {
    /// The job, and maybe some of its tasks: 12, 12:3
    #[arg(value_name = "JOB[:INDICES]")]
    pub job: JobTasks,
    /// Only files like these: '*.csv', 'results/**'
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
    /// Where to put them [default: job-JOB; of an array each task in a folder of its index]
    #[arg(long, short = 'd', value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Put the files of all tasks together
    #[arg(long)]
    pub flat: bool,
    /// Bring one archive instead, job-JOB.zip
    #[arg(long, conflicts_with = "flat")]
    pub zip: bool,
    /// Replace files that are there with other content
    #[arg(long)]
    pub force: bool,
}

#[cfg(test)]
mod tests {
    use super::JobTasks;

    #[test]
    fn jobs_and_tasks_are_named_together() {
        let read = |text: &str| text.parse::<JobTasks>();
        assert_eq!(read("12"), Ok(JobTasks { job: 12, tasks: None }));
        assert_eq!(read("12:3,10-20"), Ok(JobTasks { job: 12, tasks: Some("3,10-20".into()) }));
        for text in ["", "x", "12:", "12:x", "12:5-3", ":3"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
