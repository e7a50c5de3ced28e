//! False histories and false answers: each must be noticed, and by the rule that it breaks.

use std::collections::BTreeMap;

use campusgrid_protocol::rest::{
    Attempt, Credits, Job, JobState, OutputFile, Task, TaskState, Transfer, WorkKind,
};

use super::{ClientTruth, JobTruth, OwnerTruth, Rule, check, figures};
use crate::history::{Event, FileName, Known, STDOUT};
use crate::work::{Fate, Kind, Work};

const HELD: i64 = 100;
const CHARGED: i64 = 30;
const START: i64 = 1000;

/// A history in which all went well, to be spoilt.
struct Story {
    events: Vec<Event>,
    truth: ClientTruth,
    owner: OwnerTruth,
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

fn transfer(key: &str, amount_micros: i64) -> Transfer {
    Transfer { transfer: 1, key: key.to_owned(), at_ms: 1, amount_micros }
}

fn credits(balance: i64, spent: i64, earned: i64) -> Credits {
    Credits {
        balance_micros: balance,
        held_micros: 0,
        sharing_credit_micros: earned,
        using_credit_micros: spent,
        rate_permille: 1000,
    }
}

fn attempt(number: u32, charged_micros: i64) -> Attempt {
    Attempt {
        number,
        worker: 1,
        worker_name: "w".to_owned(),
        gpus: Vec::new(),
        leased_at_ms: 1,
        started_at_ms: Some(1),
        ended_at_ms: Some(2),
        outcome: Some("words".to_owned()),
        end: None,
        exit_code: None,
        run_ms: 1,
        cpu_ms: 1,
        ram_peak_mib: 1,
        price_micros: CHARGED,
        charged_micros,
    }
}

impl Story {
    fn of(kind: Kind) -> Self {
        let work = Work { kind, input: 5, tasks: 1 };
        let expected = work.expected(0);
        let state = match expected.fate {
            Fate::Succeeds => TaskState::Succeeded,
            Fate::Fails => TaskState::Failed,
            Fate::IsCancelled => TaskState::Cancelled,
        };
        let name = |path: &str| FileName { task: 0, path: path.to_owned() };
        let mut files: BTreeMap<FileName, String> =
            expected.outputs.iter().map(|(path, bytes)| (name(path), hash(bytes))).collect();
        files.insert(name(STDOUT), hash(&expected.stdout));
        let output = |(path, bytes): (&String, &Vec<u8>)| OutputFile {
            path: path.clone(),
            size_bytes: bytes.len() as u64,
            blake3: hash(bytes),
        };
        let task = Task {
            index: 0,
            state,
            attempts: vec![attempt(1, 0), attempt(2, CHARGED)],
            outputs: expected.outputs.iter().map(output).collect(),
            left_behind: String::new(),
            reason: String::new(),
            saved_ms: 0,
            checking: 0,
        };
        let job = Self::job(state);
        let mut events = vec![
            Event::Intended { key: "k".to_owned(), work },
            Event::Accepted { key: "k".to_owned(), job: 7, held_micros: HELD },
            Event::CreditsSeen { balance_micros: START - HELD, held_micros: HELD, spent_micros: 0 },
        ];
        if state == TaskState::Cancelled {
            events.extend([Event::CancelIntended { job: 7 }, Event::CancelAccepted { job: 7 }]);
        }
        events.push(Event::EndSeen {
            job: 7,
            state: job.state,
            charged_micros: CHARGED,
            refunded_micros: HELD - CHARGED,
        });
        let downloaded = |(file, blake3): (&FileName, &String)| Event::Downloaded {
            job: 7,
            file: file.clone(),
            blake3: blake3.clone(),
        };
        events.extend(files.iter().map(downloaded));
        events.push(Event::Collected { job: 7 });
        let jobs = vec![JobTruth { job, tasks: vec![task], files }];
        let holds = vec![transfer("hold:7", -HELD), transfer("refund:7.0", HELD - CHARGED)];
        let credits_now = credits(START - CHARGED, CHARGED, 0);
        let truth =
            ClientTruth { starting_micros: START, jobs, credits: credits_now, transfers: holds };
        let owner = OwnerTruth {
            credits: credits(START + CHARGED, 0, CHARGED),
            transfers: vec![transfer("pay:7.0:2", CHARGED)],
        };
        Self { events, truth, owner }
    }

    fn job(state: TaskState) -> Job {
        let is = |wanted| u32::from(state == wanted);
        Job {
            job: 7,
            name: "n".to_owned(),
            owner: "ada".to_owned(),
            kind: WorkKind::Shell,
            state: match state {
                TaskState::Failed => JobState::Failed,
                TaskState::Cancelled => JobState::Cancelled,
                TaskState::Succeeded
                | TaskState::Queued
                | TaskState::Pausing
                | TaskState::Preparing
                | TaskState::Running => JobState::Succeeded,
            },
            tasks: 1,
            queued: 0,
            running: 0,
            succeeded: is(TaskState::Succeeded),
            failed: is(TaskState::Failed),
            cancelled: is(TaskState::Cancelled),
            submitted_at_ms: 1,
            ended_at_ms: Some(2),
            priority: 0,
            on_hold: false,
            kept_until_ms: Some(3),
            held_micros: HELD,
            charged_micros: CHARGED,
            refunded_micros: HELD - CHARGED,
            takes_bids: false,
        }
    }

    fn breaks(self) -> Vec<Rule> {
        let findings = check(&[(Known::of(&self.events), self.truth)], &self.owner);
        let mut rules: Vec<Rule> = findings.iter().map(|finding| finding.rule).collect();
        rules.dedup();
        rules
    }

    fn job_mut(&mut self) -> &mut Job {
        &mut self.truth.jobs[0].job
    }

    fn task_mut(&mut self) -> &mut Task {
        &mut self.truth.jobs[0].tasks[0]
    }
}

/// What is found when a good story of a job of this kind is spoilt.
#[track_caller]
fn check_spoilt(kind: Kind, spoil: impl FnOnce(&mut Story), rules: &[Rule]) {
    let mut story = Story::of(kind);
    spoil(&mut story);
    assert_eq!(story.breaks(), rules);
}

#[test]
fn where_all_went_well_nothing_is_found() {
    for kind in [Kind::Shell, Kind::Python, Kind::Long, Kind::Blob, Kind::Failing, Kind::Endless] {
        check_spoilt(kind, |_| {}, &[]);
    }
    let story = Story::of(Kind::Blob);
    let figures = figures(&[(Known::of(&story.events), story.truth)]);
    assert_eq!((figures.jobs, figures.tasks, figures.attempts, figures.files), (1, 1, 2, 3));
}

#[test]
fn a_job_that_was_acknowledged_and_is_gone_is_lost() {
    let spoil = |story: &mut Story| {
        story.truth.jobs.clear();
        story.truth.credits = credits(START, 0, 0);
        story.owner = OwnerTruth { credits: credits(START, 0, 0), transfers: Vec::new() };
    };
    check_spoilt(Kind::Shell, spoil, &[Rule::NothingLost]);
}

#[test]
fn a_submit_that_became_two_jobs_is_noticed_by_either_sign() {
    let again = Event::Accepted { key: "k".to_owned(), job: 8, held_micros: HELD };
    let spoil = |story: &mut Story| story.events.push(again);
    let rules = [Rule::NothingLost, Rule::NothingDoubled, Rule::Ends, Rule::Money];
    check_spoilt(Kind::Shell, spoil, &rules);
    let spoil = |story: &mut Story| {
        let mut other = story.truth.jobs[0].clone();
        (other.job.job, other.job.charged_micros, other.job.refunded_micros) = (8, 0, HELD);
        story.truth.jobs.push(other);
    };
    check_spoilt(Kind::Shell, spoil, &[Rule::NothingDoubled]);
}

#[test]
fn two_submits_that_became_one_job_are_noticed() {
    let spoil = |story: &mut Story| {
        let work = Work { kind: Kind::Shell, input: 5, tasks: 1 };
        story.events.push(Event::Intended { key: "l".to_owned(), work });
        story.events.push(Event::Accepted { key: "l".to_owned(), job: 7, held_micros: HELD });
    };
    check_spoilt(Kind::Shell, spoil, &[Rule::NothingLost]);
}

#[test]
fn what_has_not_ended_is_noticed() {
    let open = |story: &mut Story| story.job_mut().ended_at_ms = None;
    check_spoilt(Kind::Shell, open, &[Rule::Ends]);
    let running = |story: &mut Story| story.task_mut().state = TaskState::Running;
    check_spoilt(Kind::Shell, running, &[Rule::Ends, Rule::EndsOnce]);
    let unseen = |story: &mut Story| {
        story.events.retain(|event| !matches!(event, Event::EndSeen { .. }));
    };
    check_spoilt(Kind::Shell, unseen, &[Rule::Ends]);
    let submit = Event::Intended {
        key: "l".to_owned(),
        work: Work { kind: Kind::Shell, input: 5, tasks: 1 },
    };
    check_spoilt(Kind::Shell, |story: &mut Story| story.events.push(submit), &[Rule::Ends]);
}

#[test]
fn an_end_that_changes_is_noticed() {
    let spoil = |story: &mut Story| story.job_mut().state = JobState::Failed;
    check_spoilt(Kind::Shell, spoil, &[Rule::EndsOnce]);
    let spoil = |story: &mut Story| story.job_mut().failed = 1;
    check_spoilt(Kind::Shell, spoil, &[Rule::EndsOnce]);
}

#[test]
fn a_task_that_ends_as_it_cannot_is_noticed() {
    let fails = |story: &mut Story| story.task_mut().state = TaskState::Failed;
    check_spoilt(Kind::Shell, fails, &[Rule::EndsOnce, Rule::Fate]);
    let cancelled = |story: &mut Story| {
        story.task_mut().state = TaskState::Cancelled;
        story.job_mut().cancelled = 1;
        story.job_mut().succeeded = 0;
    };
    check_spoilt(Kind::Shell, cancelled, &[Rule::Fate]);
    let succeeds = |story: &mut Story| {
        story.task_mut().state = TaskState::Succeeded;
    };
    check_spoilt(Kind::Failing, succeeds, &[Rule::EndsOnce, Rule::Fate]);
}

#[test]
fn a_task_is_given_up_only_after_three_workers_and_is_refunded_then() {
    let spoil = |story: &mut Story| {
        *story = Story::of(Kind::Failing);
        let Some(Event::Intended { work, .. }) = story.events.first_mut() else { panic!() };
        work.kind = Kind::Shell;
    };
    check_spoilt(Kind::Shell, spoil, &[Rule::Fate]);
    let spoil_and_refund = |story: &mut Story| {
        spoil(story);
        story.task_mut().attempts[1].charged_micros = 0;
        (story.job_mut().charged_micros, story.job_mut().refunded_micros) = (0, HELD);
        story.truth.credits = credits(START, 0, 0);
        story.owner = OwnerTruth { credits: credits(START, 0, 0), transfers: Vec::new() };
        story.events.retain(|event| !matches!(event, Event::EndSeen { .. }));
        let (state, refunded_micros) = (JobState::Failed, HELD);
        story.events.push(Event::EndSeen { job: 7, state, charged_micros: 0, refunded_micros });
    };
    check_spoilt(Kind::Shell, spoil_and_refund, &[Rule::Fate]);
    let lost_on_three = |story: &mut Story| {
        spoil_and_refund(story);
        let attempts = &mut story.task_mut().attempts;
        attempts.push(attempt(3, 0));
        for (worker, attempt) in (1..).zip(attempts) {
            attempt.worker = worker;
        }
    };
    check_spoilt(Kind::Shell, lost_on_three, &[]);
}

#[test]
fn a_wrong_result_is_noticed_and_so_is_one_that_changes() {
    let name = |path: &str| FileName { task: 0, path: path.to_owned() };
    let wrong = |story: &mut Story| {
        story.truth.jobs[0].files.insert(name("result"), hash(b"wrong"));
    };
    check_spoilt(Kind::Shell, wrong, &[Rule::RightResult, Rule::SameResult]);
    let gone = |story: &mut Story| {
        story.truth.jobs[0].files.remove(&name("blob"));
    };
    check_spoilt(Kind::Blob, gone, &[Rule::RightResult, Rule::SameResult]);
    let changed = |story: &mut Story| {
        story.truth.jobs[0].files.insert(name(STDOUT), hash(b"more"));
    };
    check_spoilt(Kind::Failing, changed, &[Rule::SameResult]);
    let more = |story: &mut Story| {
        let blake3 = hash(b"more");
        story.task_mut().outputs.push(OutputFile {
            path: "more".to_owned(),
            size_bytes: 1,
            blake3,
        });
    };
    check_spoilt(Kind::Shell, more, &[Rule::RightResult]);
}

#[test]
fn attempts_out_of_order_or_charged_too_early_are_noticed() {
    let order = |story: &mut Story| story.task_mut().attempts.swap(0, 1);
    check_spoilt(Kind::Shell, order, &[Rule::Attempts]);
    let early = |story: &mut Story| {
        story.task_mut().attempts[0].charged_micros = CHARGED;
        story.task_mut().attempts[1].charged_micros = 0;
    };
    check_spoilt(Kind::Shell, early, &[Rule::Attempts]);
    let open = |story: &mut Story| story.task_mut().attempts[0].ended_at_ms = None;
    check_spoilt(Kind::Shell, open, &[Rule::Attempts]);
}

#[test]
fn every_credit_that_is_not_where_it_belongs_is_noticed() {
    let spoils: [fn(&mut Story); 9] = [
        // Paid twice, though the sum is right.
        |story| {
            story.owner.transfers =
                vec![transfer("pay:7.0:1", CHARGED - 1), transfer("pay:7.0:2", 1)];
        },
        |story| story.owner.transfers.clear(),
        |story| story.owner.transfers.push(transfer("pay:99.0:1", 1)),
        |story| story.owner.credits.sharing_credit_micros += 1,
        |story| story.truth.credits.held_micros = 1,
        |story| story.truth.credits.balance_micros += 1,
        |story| story.truth.transfers.push(transfer("hold:7", -HELD)),
        |story| {
            story.events.push(Event::CreditsSeen {
                balance_micros: START - HELD,
                held_micros: 0,
                spent_micros: CHARGED,
            });
        },
        |story| {
            let seen = |spent| Event::CreditsSeen {
                balance_micros: START - spent,
                held_micros: 0,
                spent_micros: spent,
            };
            story.events.extend([seen(CHARGED), seen(0)]);
        },
    ];
    for spoil in spoils {
        check_spoilt(Kind::Shell, spoil, &[Rule::Money]);
    }
}

#[test]
fn a_job_that_counts_other_tasks_than_it_lists_is_noticed() {
    let spoil = |story: &mut Story| story.truth.jobs[0].tasks.clear();
    check_spoilt(Kind::Shell, spoil, &[Rule::EndsOnce, Rule::Money]);
    let spoil = |story: &mut Story| story.task_mut().attempts[1].charged_micros -= 1;
    check_spoilt(Kind::Shell, spoil, &[Rule::Money]);
}

#[test]
fn a_refusal_that_nobody_earned_is_noticed() {
    let refused = Event::Refused { words: "submit k: 500".to_owned() };
    check_spoilt(Kind::Shell, |story: &mut Story| story.events.push(refused), &[Rule::Refused]);
}
