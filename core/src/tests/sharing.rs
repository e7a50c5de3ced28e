//! Machines whose owners say when they are shared, how much of them, and with whom.

use std::sync::Arc;

use campusgrid_protocol::id::{SessionId, WorkerId};
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::rules::{
    ByHand, Conditions, Kind, Limits, Phase, Rules, Shares, Whose, Wish,
};
use campusgrid_protocol::task::{Outcome, WorkerFault};
use expect_test::expect;

use crate::ask::Ask;
use crate::effect::{Refusal, Reply};
use crate::input::{Input, Joined, Request, WorkerEvent};
use crate::money::Micros;
use crate::pricing::Prices;
use crate::tests::world::{
    ADA, BOB, EVE, Machine, Wish as Job, World, attempts, job, join, worker,
};

/// What a machine says of itself.
pub(super) fn shares(phase: Phase, why: &str, limits: Limits) -> WorkerEvent {
    let why = why.to_owned();
    WorkerEvent::Shares(Box::new(Shares { phase, why, since_ms: 1, limits }))
}

fn open(limits: Limits) -> WorkerEvent {
    shares(Phase::Open, "", limits)
}

fn closed(why: &str) -> WorkerEvent {
    shares(Phase::Closed, why, Limits::default())
}

fn rules_of(limits: Limits) -> Rules {
    Rules { limits, ..Rules::default() }
}

fn set_rules(world: &mut World, worker: u64, rules: &Rules) -> Reply {
    let (worker, rules) = (WorkerId(worker), Box::new(rules.clone()));
    world.ask(Request::SetRules { user: BOB, worker, rules })
}

/// A world with one machine of bob's, and these jobs that wait for it, in words.
fn waits(machine: &Machine, limits: Limits, jobs: &[Job]) -> String {
    let mut world = World::new();
    world.own(1, machine);
    world.hear(1, open(limits));
    for job in jobs {
        world.submit(job);
    }
    world.log.clear();
    world.note_waiting();
    world.log
}

#[test]
fn a_machine_gets_nothing_while_it_is_frozen_or_closed() {
    let mut world = World::new();
    world.own(1, &worker(2, 2));
    world.hear(1, shares(Phase::Frozen, "in use", Limits::default()));
    world.submit(&job(1, 1));
    world.note_waiting();
    world.note("handed back for longer");
    world.hear(1, closed("outside its hours until Mon 18:00"));
    world.note_waiting();
    world.note("and shared again");
    world.hear(1, open(Limits::default()));
    expect![[r#"
        hold:1: ada -> escrow 18
        job 1, 18 held
        waits: 1 worker can run it, and it is not shared right now; it starts when it is
        # handed back for longer
        waits: 1 worker can run it, and it is not shared right now; it starts when it is
        # and shared again
        1.0#1 -> worker-1
    "#]]
    .assert_eq(&world.log);
}

/// What its owner does is for nobody else to know.
#[test]
fn only_its_owner_reads_why_a_machine_is_not_shared() {
    let why = "zoomcall runs since 21:23";
    let mut world = World::new();
    for number in [1, 2] {
        world.own(number, &worker(2, 2));
        world.hear(number.into(), closed(why));
    }
    for (by, words) in [
        (ADA, "2 workers can run it, and all are not shared right now; it starts when one is"),
        (
            BOB,
            "2 workers can run it, and all are not shared right now, yours: zoomcall runs since \
             21:23; it starts when one is",
        ),
    ] {
        world.submit(&job(1, 1).by(by));
        let number = world.grid.last_job;
        let snapshot = world.grid.snapshot();
        let spec = &world.grid.jobs[&number].spec;
        assert_eq!(snapshot.why(number, by, spec).as_deref(), Some(words));
    }
}

/// What a machine says when it comes back may be older than what its owner has said meanwhile.
#[test]
fn a_machine_that_was_paused_while_it_was_off_gets_nothing_when_it_comes_back() {
    let minute = |world: &World| Some(world.now.plus_ms(60_000).0);
    let mut world = World::new();
    world.own(1, &worker(2, 2));
    world.submit(&job(1, 1));
    world.end(1, "1.0#1", Outcome::Succeeded, 0);
    world.hear(1, WorkerEvent::Gone);
    let by_hand = Some(ByHand { wish: Wish::Pause, until_ms: minute(&world) });
    set_rules(&mut world, 1, &Rules { by_hand, ..Rules::default() });
    world.submit(&job(1, 1));
    let is_idle =
        |world: &World| world.grid.occupancy.get(&WorkerId(1)).is_none_or(|on| on.is_empty());
    let says_open = |world: &mut World, session| {
        world.join(session, join(1, &worker(2, 2), Vec::new()));
        world.hear(session, open(Limits::default()));
    };
    says_open(&mut world, 2);
    assert!(is_idle(&world), "{}", world.log);
    world.wait_s(20);
    world.heartbeat(2, Vec::new());
    world.wait_s(39);
    world.heartbeat(2, Vec::new());
    assert!(is_idle(&world), "{}", world.log);
    world.wait_s(1);
    assert!(!is_idle(&world), "the pause is over: {}", world.log);
    world.end(2, "2.0#1", Outcome::Succeeded, 0);

    let over = Conditions { until_ms: Some(world.now.0), ..Conditions::default() };
    let over = Rules { when: over, ..Rules::default() };
    set_rules(&mut world, 1, &over);
    says_open(&mut world, 3);
    world.submit(&job(1, 1));
    assert!(is_idle(&world), "its offer is over: {}", world.log);
    let by_hand = Some(ByHand { wish: Wish::Share, until_ms: None });
    set_rules(&mut world, 1, &Rules { by_hand, ..over });
    assert!(!is_idle(&world), "by hand it is shared: {}", world.log);
}

#[test]
fn what_runs_goes_on_while_its_machine_is_frozen() {
    let mut world = World::new();
    world.own(1, &worker(2, 2));
    world.submit(&job(1, 1));
    world.start(1, "1.0#1");
    world.log.clear();
    world.hear(1, shares(Phase::Frozen, "in use", Limits::default()));
    world.wait_s(80);
    world.heartbeat(1, attempts(&["1.0#1"]));
    world.wait_s(80);
    assert_eq!(world.grid.jobs.len(), 1);
    world.hear(1, open(Limits::default()));
    world.end(1, "1.0#1", Outcome::Succeeded, 60);
    assert!(world.grid.jobs.is_empty(), "{}", world.log);
}

/// A worker that is shared again takes what it has just given back; one that leaves does not.
#[test]
fn a_task_that_its_owner_took_back_waits_at_its_old_place() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    world.submit(&job(1, 1).by(EVE));
    world.start(1, "1.0#1");
    world.hear(1, closed("in use"));
    world.log.clear();
    world.end(1, "1.0#1", Outcome::Returned(WorkerFault::Leaving), 30);
    world.hear(1, open(Limits::default()));
    expect![[r#"
        1.0#1 waits again, 3 tries left: the owner took the worker back
        to session 1: stored 1.0#1
        1.0#2 -> worker-1
    "#]]
    .assert_eq(&world.log);
    let record = world.grid.workers[&WorkerId(1)].record;
    assert_eq!((record.handed_back, record.lost, record.delivered), (1, 0, 0));
}

#[test]
fn a_task_that_was_stopped_by_hand_goes_elsewhere() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1));
    world.end(1, "1.0#1", Outcome::Returned(WorkerFault::Leaving), 0);
    world.log.clear();
    world.note_waiting();
    world.note("another job is welcome, and so is another machine");
    world.submit(&job(1, 1).by(EVE));
    world.own(2, &worker(1, 1));
    expect![[r#"
        waits: a worker has just given it back; it may have it again in 10 min
        # another job is welcome, and so is another machine
        hold:2: eve -> escrow 18
        2.0#1 -> worker-1
        job 2, 18 held
        1.0#2 -> worker-2
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn the_stricter_of_two_limits_holds() {
    let mut world = World::new();
    world.own(1, &worker(4, 4).gpu(8).gpu(16).gpu(4));
    let (id, two) = (WorkerId(1), Limits { cores: Some(2), ..Limits::default() });
    let says = Limits { cores: Some(3), ram_mib: Some(1024), gpus: Some(2), ..Limits::default() };
    world.hear(1, open(says));
    set_rules(&mut world, 1, &rules_of(two));
    let free = world.grid.links[&id].free.clone();
    let gpus: Vec<u32> = free.gpus.iter().map(|gpu| gpu.memory_mib).collect();
    assert_eq!((free.cpu_millis, free.ram_mib, gpus), (2000, 1024, vec![8192, 16_384]));
    world.submit(&job(1, 1).gpus(1, 8));
    assert_eq!(world.grid.links[&id].free.gpus.len(), 1);
    set_rules(&mut world, 1, &rules_of(Limits { at_once: Some(1), ..Limits::default() }));
    assert_eq!(world.grid.links[&id].free.cpu_millis, 0);
    world.end(1, "1.0#1", Outcome::Succeeded, 0);
    assert_eq!(world.grid.links[&id].free.cpu_millis, 3000);
}

#[test]
fn tasks_at_once_are_counted() {
    let mut world = World::new();
    world.own(1, &worker(4, 4));
    world.hear(1, open(Limits { at_once: Some(2), ..Limits::default() }));
    world.submit(&job(1, 1).tasks(3));
    assert_eq!(world.grid.occupancy[&WorkerId(1)].len(), 2);
    world.end(1, "1.0#1", Outcome::Succeeded, 0);
    assert_eq!(world.grid.occupancy[&WorkerId(1)].len(), 2);
}

#[test]
fn whoever_an_owner_does_not_want_waits_for_another_machine() {
    let names = |names: &[&str]| Whose::Of(names.iter().map(|&name| name.to_owned()).collect());
    let of = |whose| Limits { whose, ..Limits::default() };
    let all = [job(1, 1), job(1, 1).by(BOB), job(1, 1).by(EVE)];
    expect![[r#"
        waits: 1 worker could run it, but by its owner's rules it takes no jobs of yours; ask an owner, or wait for another worker
        waits: 1 worker could run it, but by its owner's rules it takes no jobs of yours; ask an owner, or wait for another worker
    "#]]
    .assert_eq(&waits(&worker(4, 4), of(Whose::Mine), &all));
    let eve = of(names(&["nobody", "EVE"]));
    assert_eq!(waits(&worker(4, 4), eve, &all).lines().count(), 1);
    assert_eq!(waits(&worker(4, 4), of(names(&[])), &all).lines().count(), 2);
}

#[test]
fn kinds_and_lengths_that_an_owner_does_not_want_are_said() {
    let limits = Limits { kinds: vec![Kind::C], longest_s: Some(60), ..Limits::default() };
    expect![[r#"
        waits: 1 worker could run it, but by its owner's rules it takes no jobs of this kind; it starts when another comes
    "#]]
    .assert_eq(&waits(&worker(4, 4), limits.clone(), &[job(1, 1)]));
    let limits = Limits { kinds: vec![Kind::Shell], ..limits };
    expect![[r#"
        waits: 1 worker could run it, but by its owner's rules it takes no jobs of so long a time limit; submit it with a shorter one if that will do
    "#]]
    .assert_eq(&waits(&worker(4, 4), limits.clone(), &[job(1, 1)]));
    assert_eq!(waits(&worker(4, 4), limits, &[job(1, 1).limit_s(60)]), "");
}

#[test]
fn a_machine_that_is_dearer_than_the_formula_gets_its_owners_jobs_only() {
    let mut world = World::new();
    world.own(1, &worker(4, 4));
    let prices = Prices { core: Micros::from_credits(3), ..world.grid.policy.prices };
    let dear = |prices| Request::SetAsk {
        user: BOB,
        worker: WorkerId(1),
        ask: Ask { prices: Some(prices), automatic: false },
    };
    assert!(matches!(world.ask(dear(prices)), Reply::Done));
    world.submit(&job(1, 1));
    world.submit(&job(1, 1).by(BOB));
    world.note_waiting();
    world.note("and as soon as it is cheap enough");
    world.ask(dear(Prices { base: Micros::from_credits(4), ..prices }));
    expect![[r#"
        worker-1 asks for its own price
        done
        hold:1: ada -> escrow 18
        job 1, 18 held
        hold:2: bob -> escrow 18
        2.0#1 -> worker-1
        job 2, 18 held
        waits: 1 worker could run it, but its owner asks for more than the formula; submit it to the market to have them bid
        # and as soon as it is cheap enough
        worker-1 asks for its own price
        1.0#1 -> worker-1
        done
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn rules_are_set_by_owners_and_told() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    let rules = rules_of(Limits { longest_s: Some(60), ..Limits::default() });
    let request = Request::SetRules { user: ADA, worker: WorkerId(1), rules: rules.clone().into() };
    assert!(matches!(world.ask(request), Reply::Refused(Refusal::NotFound)));
    let request = Request::SetRules { user: EVE, worker: WorkerId(1), rules: rules.clone().into() };
    assert!(matches!(world.ask(request), Reply::Refused(Refusal::NotFound)));
    let request = Request::SetRules { user: BOB, worker: WorkerId(1), rules: rules.clone().into() };
    let ticket = crate::input::Ticket(0);
    let effects = world.happen(Input::Request { ticket, request: request.clone() });
    let told = (SessionId(1), ToWorker::Rules(Box::new(rules.clone())));
    assert_eq!(effects.sends, vec![told]);
    let again = world.happen(Input::Request { ticket, request });
    assert!(again.changes.is_empty() && again.sends.is_empty());
    assert_eq!(*world.grid.workers[&WorkerId(1)].rules, rules);
    let welcome = world.happen(Input::FromWorker {
        session: SessionId(2),
        event: WorkerEvent::Joined(Box::new(join(1, &worker(1, 1), Vec::new()))),
    });
    let is_told = |message: &ToWorker| matches!(message, ToWorker::Welcome { rules: told, .. } if **told == rules);
    assert!(welcome.sends.iter().any(|(_, message)| is_told(message)), "{:?}", welcome.sends);
}

/// A machine of an older version says nothing of itself, so the grid keeps to the rules alone.
#[test]
fn an_older_machine_is_shared_by_its_rules() {
    let mut world = World::new();
    let old = |attempts| Joined { shares: None, ..join(1, &worker(2, 2), attempts) };
    world.own(1, &worker(2, 2));
    world.join(2, old(Vec::new()));
    let until_ms = Some(world.now.plus_ms(60_000).0);
    let by_hand = Some(ByHand { wish: Wish::Pause, until_ms });
    set_rules(&mut world, 1, &Rules { by_hand, ..Rules::default() });
    let is_open = |world: &World| {
        let snapshot = world.grid.snapshot();
        let fit = snapshot.fit(&snapshot.shape(ADA, &job(1, 1).spec), "ada");
        (fit.free > 0, snapshot.workers[0].link.as_ref().unwrap().is_open)
    };
    assert_eq!(is_open(&world), (false, false));
    world.submit(&job(1, 1));
    world.log.clear();
    world.note_waiting();
    world.wait_s(20);
    world.heartbeat(2, Vec::new());
    world.wait_s(20);
    world.heartbeat(2, Vec::new());
    world.note("the pause is over");
    world.wait_s(20);
    expect![[r#"
        waits: 1 worker can run it, and it is not shared right now; it starts when it is
        # the pause is over
        1.0#1 -> worker-1
    "#]]
    .assert_eq(&world.log);
    assert_eq!(is_open(&world), (true, true));
    let never = Conditions { enabled: false, ..Conditions::default() };
    set_rules(&mut world, 1, &Rules { when: never, ..Rules::default() });
    assert_eq!(world.grid.occupancy[&WorkerId(1)].len(), 1, "what runs goes on");
    world.submit(&job(1, 1));
    assert_eq!(world.grid.occupancy[&WorkerId(1)].len(), 1);
    world.end(2, "1.0#1", Outcome::Returned(WorkerFault::Leaving), 0);
    assert!(world.grid.links[&WorkerId(1)].leaving);
}

/// Whoever asks how many machines could run a job is told what dispatch would do.
#[test]
fn machines_are_counted_as_they_are_shared() {
    let mut world = World::new();
    world.own(1, &worker(4, 4));
    world.own(2, &worker(4, 4).confined(Isolation::None));
    let fit = |world: &World| {
        let snapshot = world.grid.snapshot();
        let fit = snapshot.fit(&snapshot.shape(ADA, &job(1, 1).spec), "ada");
        (fit.online, fit.able, fit.free)
    };
    assert_eq!(fit(&world), (2, 1, 1));
    world.hear(1, closed("in use"));
    assert_eq!(fit(&world), (2, 1, 0));
    world.hear(1, open(Limits { whose: Whose::Mine, ..Limits::default() }));
    assert_eq!(fit(&world), (2, 0, 0));
    world.hear(1, open(Limits { cores: Some(0), ..Limits::default() }));
    assert_eq!(fit(&world), (2, 0, 0));
    assert!(Arc::ptr_eq(
        &world.grid.workers[&WorkerId(1)].rules,
        &world.grid.snapshot().workers[0].rules
    ));
}
