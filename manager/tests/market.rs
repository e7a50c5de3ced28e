//! The market over HTTP, with the real manager and machines that do as they are told.

#![expect(clippy::print_stderr, reason = "what the processes print belongs to the test's output")]
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod grid;

use campusgrid_protocol::id::AttemptId;
use campusgrid_protocol::message::{ToManager, ToWorker};
use campusgrid_protocol::rules::Phase;
use campusgrid_protocol::task::{Ended, Outcome, WorkerFault};
use grid::fake::{FakeWorker, introduction, shares};
use grid::{Grid, User, until};
use serde_json::{Value, json};

const CREDIT: i64 = 1_000_000;

/// A grid with an operator, who sees more than others do, and a client.
fn started(name: &str) -> (Grid, User) {
    let grid = Grid::start(name);
    grid.register("operator");
    let client = grid.register("client");
    (grid, client)
}

fn owner(grid: &Grid, number: u8) -> (User, FakeWorker) {
    let user = grid.register(&format!("owner-{number}"));
    let machine = FakeWorker::join_for(grid, &user, introduction(number));
    (user, machine)
}

fn submit(grid: &Grid, user: &User, more: &Value) -> u64 {
    let mut body = json!({"kind": "c", "source": "int main(){}", "ram_mib": 64});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, answer) = grid.post(user, "jobs", &body);
    assert_eq!(status, 201, "{answer}");
    answer["job"].as_u64().unwrap()
}

fn bid(grid: &Grid, (user, machine): (&User, &FakeWorker), job: u64, credits: i64) -> (u16, Value) {
    let body = json!({"worker": machine.papers.worker, "price_micros": credits * CREDIT});
    grid.post(user, &format!("jobs/{job}/bids"), &body)
}

fn accept(grid: &Grid, user: &User, job: u64, worker: u64, credits: i64) -> (u16, Value) {
    let body = json!({"worker": worker, "price_micros": credits * CREDIT});
    grid.post(user, &format!("jobs/{job}/accept"), &body)
}

fn bids(grid: &Grid, user: &User, job: u64) -> Value {
    let (status, answer) = grid.get(user, &format!("jobs/{job}/bids"));
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The states and prices in an answer's list of bids.
fn standing(bids: &Value) -> Vec<(String, Option<i64>)> {
    let row = |bid: &Value| {
        let price = bid["price_micros"].as_i64().map(|micros| micros / CREDIT);
        (bid["state"].as_str().unwrap().to_owned(), price)
    };
    bids["bids"].as_array().unwrap().iter().map(row).collect()
}

fn is(state: &str, credits: i64) -> (String, Option<i64>) {
    (state.to_owned(), Some(credits))
}

fn refused((status, answer): (u16, Value)) -> (u16, String) {
    (status, answer["error"]["code"].as_str().unwrap_or_default().to_owned())
}

fn balance(grid: &Grid, user: &User) -> i64 {
    grid.get(user, "credits").1["balance_micros"].as_i64().unwrap()
}

fn start(machine: &mut FakeWorker) -> AttemptId {
    let message = machine.receive();
    let ToWorker::Start { attempt, .. } = message else { panic!("{message:?}") };
    machine.send(&ToManager::Started { attempt });
    attempt
}

fn end(machine: &mut FakeWorker, attempt: AttemptId, outcome: Outcome) {
    machine.send(&ToManager::Ended(Box::new(Ended::empty(attempt, outcome))));
}

#[test]
fn a_client_chooses_among_bids_and_pays_what_was_bid() {
    let (grid, client) = started("market-hand");
    let ((one, mut machine), (other, others)) = (owner(&grid, 1), owner(&grid, 2));
    let before = balance(&grid, &client);
    let job = submit(&grid, &client, &json!({"market": "hand", "name": "Heat"}));
    assert_eq!(balance(&grid, &client), before, "nothing is held before a bid is accepted");
    let detail = grid.get(&client, &format!("jobs/{job}")).1;
    assert_eq!((&detail["takes_bids"], &detail["state"]), (&json!(true), &json!("queued")));

    // What owners see of it: that it fits, and not what it runs.
    until("the machine is known to be there", || {
        let open = grid.get(&one, "market/jobs?fits=true").1;
        open["items"][0]["machines"][0]["worker"].as_u64() == Some(machine.papers.worker)
    });
    let open = grid.get(&one, "market/jobs?fits=true").1;
    assert_eq!(open["items"][0]["job"], job);
    assert_eq!(open["items"][0]["machines"][0]["ask_micros"], open["items"][0]["formula_micros"]);
    assert!(!open.to_string().contains("int main"), "{open}");
    assert_eq!(grid.get(&client, "market/jobs?fits=true").1["items"], json!([]));
    assert_eq!(grid.get(&other, &format!("jobs/{job}")).0, 404);

    let ours = (&one, &machine);
    assert_eq!(bid(&grid, ours, job, 20).0, 201);
    assert_eq!(bid(&grid, ours, job, 12).0, 201, "a better one takes its place");
    assert_eq!(bid(&grid, (&other, &others), job, 15).0, 201);
    assert_eq!(refused(bid(&grid, (&other, &machine), job, 1)), (404, "not_found".to_owned()));
    assert_eq!(standing(&bids(&grid, &one, job)), [is("open", 12)], "nobody else's");
    let all = bids(&grid, &client, job);
    assert_eq!(standing(&all)[..2], [is("open", 12), is("open", 15)]);
    let seen = &all["bids"][0]["machine"];
    assert!(seen["start_at_ms"].is_u64() && seen["end_at_ms"].is_u64(), "{seen}");
    assert!(seen["score_permille"].as_u64().unwrap() > 0, "{seen}");

    let worker = machine.papers.worker;
    assert_eq!(refused(accept(&grid, &client, job, worker, 20)), (409, "bid_gone".to_owned()));
    assert_eq!(refused(accept(&grid, &one, job, worker, 12)), (404, "not_found".to_owned()));
    let (status, accepted) = accept(&grid, &client, job, worker, 12);
    assert_eq!(status, 200, "{accepted}");
    assert_eq!(accepted["market"]["award"]["worker"], worker);
    assert_eq!(accepted["market"]["open"], false);
    assert_eq!(balance(&grid, &client), before - 12 * CREDIT);
    assert_eq!(standing(&bids(&grid, &other, job)), [is("refused", 15)]);
    assert_eq!(accept(&grid, &client, job, worker, 12).0, 200, "its answer may have been lost");
    assert_eq!(balance(&grid, &client), before - 12 * CREDIT);
    let theirs = others.papers.worker;
    for late in [bid(&grid, (&other, &others), job, 1), accept(&grid, &client, job, theirs, 15)] {
        assert_eq!(refused(late), (409, "not_open".to_owned()));
    }
    assert_eq!(grid.get(&one, "market/jobs").1["items"], json!([]));

    let attempt = start(&mut machine);
    end(&mut machine, attempt, Outcome::Succeeded);
    let ended = grid.ended(&client, job);
    let charged = ended["charged_micros"].as_i64().unwrap();
    assert!((1..=12 * CREDIT).contains(&charged), "{ended}");
    assert_eq!(balance(&grid, &client), before - charged, "the rest of the hold is back");
    let receipt = grid.get(&client, &format!("jobs/{job}/receipt")).1;
    assert_eq!(receipt["lines"][0]["price_micros"], 12 * CREDIT);
    assert_eq!(receipt["lines"][0]["charged_micros"], charged);
    assert!(receipt["transfers"].as_array().unwrap().len() >= 2, "{receipt}");
    let earned = grid.get(&one, "earnings").1;
    assert_eq!(earned["all"]["today_micros"], charged);
    assert_eq!(earned["machines"][0]["ever_micros"], charged);
    let paid = grid.get(&one, &format!("workers/{worker}/earnings")).1;
    assert_eq!(
        (&paid["paid"]["items"][0]["job"], &paid["ever_micros"]),
        (&json!(job), &json!(charged))
    );
    let own = grid.get(&one, "market/bids").1;
    assert_eq!(own["items"][0]["state"], "accepted");
    let prices = grid.get(&other, "market/prices").1;
    assert_eq!(prices["day"]["cpu_charged_micros"], charged, "{prices}");
    grid.fsck();
}

#[test]
fn a_bid_is_for_a_machine_of_ones_own_that_could_run_the_job() {
    let (grid, client) = started("market-bids");
    let (own, machine) = owner(&grid, 1);
    let mine = FakeWorker::join_for(&grid, &client, introduction(2));
    let job = submit(&grid, &client, &json!({"market": "hand"}));
    let large = submit(&grid, &client, &json!({"market": "hand", "cores": 9}));
    let plain = submit(&grid, &client, &json!({"labels": ["R"]}));
    let code = |answer: (u16, Value)| refused(answer);
    assert_eq!(code(bid(&grid, (&client, &mine), job, 1)), (409, "own_job".to_owned()));
    assert_eq!(code(bid(&grid, (&own, &machine), large, 1)), (409, "cannot_run".to_owned()));
    let on_plain = code(bid(&grid, (&own, &machine), plain, 1));
    assert!([404, 409].contains(&on_plain.0), "{on_plain:?}");
    assert_eq!(grid.get(&own, &format!("jobs/{plain}/bids")).0, 404);
    let zero = code(bid(&grid, (&own, &machine), job, 0));
    assert_eq!(zero, (422, "invalid_fields".to_owned()));

    assert_eq!(bid(&grid, (&own, &machine), job, 3).0, 201);
    let path = format!("jobs/{job}/bids/{}", machine.papers.worker);
    assert_eq!(grid.delete(&client, &path), 404);
    assert_eq!(grid.delete(&own, &path), 204);
    assert_eq!(grid.delete(&own, &path), 409);
    assert_eq!(standing(&bids(&grid, &client, job)), [is("withdrawn", 3)]);
    let held = grid.get(&client, "jobs?state=queued").1;
    assert_eq!(held["items"].as_array().unwrap().len(), 3);
    let (status, _) = grid.post_nothing(&client, &format!("jobs/{job}/cancel"));
    assert_eq!(status, 204);
    assert_eq!(code(bid(&grid, (&own, &machine), job, 1)).0, 409);
    grid.fsck();
}

#[test]
fn a_job_sold_by_rule_is_sealed_and_the_winner_gets_the_second_price() {
    let (grid, client) = started("market-rule");
    let before = balance(&grid, &client);
    let rule =
        |max: i64| json!({"market": "rule", "max_price_micros": max * CREDIT, "close_after_s": 5});
    let mut owners: Vec<(User, FakeWorker)> = (1..=3).map(|number| owner(&grid, number)).collect();
    let (job, poor) = (submit(&grid, &client, &rule(50)), submit(&grid, &client, &rule(2)));
    assert_eq!(balance(&grid, &client), before - 52 * CREDIT);
    for ((user, machine), credits) in owners.iter().zip([30, 10, 20]) {
        assert_eq!(bid(&grid, (user, machine), job, credits).0, 201);
    }
    assert_eq!(bid(&grid, (&owners[0].0, &owners[0].1), poor, 3).0, 201);
    let sealed = bids(&grid, &client, job);
    assert_eq!(sealed["market"]["sealed"], true);
    for bid in sealed["bids"].as_array().unwrap() {
        assert_eq!((&bid["price_micros"], &bid["worker"]), (&Value::Null, &json!(0)), "{bid}");
    }
    assert_eq!(standing(&bids(&grid, &owners[1].0, job)), [is("open", 10)]);
    let open = grid.get(&owners[1].0, "market/jobs").1;
    assert!(open["items"][0]["max_price_micros"].is_null(), "{open}");
    assert_eq!(refused(accept(&grid, &client, job, owners[1].1.papers.worker, 10)).0, 409);

    let nothing = "1.0#1".parse().unwrap();
    until("it closes", || {
        for (_, machine) in &mut owners {
            machine.beat(&[]);
        }
        let detail = grid.get(&client, &format!("jobs/{job}?wait_ms=300")).1;
        !detail["market"]["open"].as_bool().unwrap()
    });
    let market = bids(&grid, &client, job)["market"].clone();
    assert_eq!(market["award"]["worker"], owners[1].1.papers.worker, "{market}");
    assert_eq!(market["award"]["price_micros"], 20 * CREDIT, "{market}");
    let attempt = start(&mut owners[1].1);
    let told = owners[0].1.until_renewed(9, nothing);
    assert!(!told.iter().any(|message| matches!(message, ToWorker::Start { .. })), "{told:?}");
    end(&mut owners[1].1, attempt, Outcome::Succeeded);
    let charged = grid.ended(&client, job)["charged_micros"].as_i64().unwrap();
    assert!((1..=20 * CREDIT).contains(&charged), "{charged}");
    let cancelled = grid.ended(&client, poor);
    assert_eq!(cancelled["state"], "cancelled", "{cancelled}");
    assert!(cancelled["note"].as_str().unwrap().contains("bid"), "{cancelled}");
    assert_eq!(balance(&grid, &client), before - charged);
    grid.fsck();
}

fn ask(grid: &Grid, user: &User, machine: &FakeWorker, body: &Value) {
    let path = format!("workers/{}/ask", machine.papers.worker);
    let (status, answer) = grid.put(user, &path, body);
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn a_machine_that_asks_for_more_than_the_formula_gets_nothing_by_it() {
    let (grid, client) = started("market-dear");
    let (own, mut machine) = owner(&grid, 1);
    let dear = json!({"prices": {"base_micros": 1000 * CREDIT}});
    ask(&grid, &own, &machine, &dear);
    let body = json!({"kind": "shell", "source": "true", "ram_mib": 64});
    let quote = || grid.post(&client, "quote", &body).1;
    let fits = |quote: &Value| {
        let count = |name: &str| quote[name].as_u64().unwrap();
        (count("workers_fit"), count("workers_dearer"), count("workers_free"))
    };
    assert_eq!(fits(&quote()), (0, 1, 0));
    let job = grid.submit(&client, "true");
    assert_eq!(machine.until_renewed(1, "1.0#1".parse().unwrap()).len(), 1, "only a Drop of none");
    let waiting = || grid.get(&client, &format!("jobs/{job}")).1["waiting"].clone();
    until("it is said why", || waiting().is_string());

    ask(&grid, &own, &machine, &json!({"prices": {"base_micros": CREDIT}}));
    assert_eq!(fits(&quote()), (1, 0, 1));
    let attempt = start(&mut machine);
    end(&mut machine, attempt, Outcome::Succeeded);
    let charged = grid.ended(&client, job)["charged_micros"].as_i64().unwrap();
    assert_eq!(charged, CREDIT, "its own price, and not the formula's");
    grid.fsck();
}

#[test]
fn an_automatic_ask_bids_by_itself() {
    let (grid, client) = started("market-ask");
    let (own, mut machine) = owner(&grid, 1);
    let body = json!({"prices": {"base_micros": 7 * CREDIT}, "automatic": true});
    ask(&grid, &own, &machine, &body);
    let job = submit(&grid, &client, &json!({"market": "hand"}));
    let bids = bids(&grid, &client, job);
    assert_eq!(standing(&bids), [is("open", 7)]);
    assert_eq!(bids["bids"][0]["automatic"], true);
    assert_eq!(accept(&grid, &client, job, machine.papers.worker, 7).0, 200);
    let attempt = start(&mut machine);
    end(&mut machine, attempt, Outcome::Succeeded);
    assert_eq!(grid.ended(&client, job)["charged_micros"], 7 * CREDIT);
    grid.fsck();
}

#[test]
fn a_machine_is_not_sold_twice() {
    let (grid, client) = started("market-busy");
    let (own, mut machine) = owner(&grid, 1);
    let job = submit(&grid, &client, &json!({"market": "hand", "cores": 8}));
    assert_eq!(bid(&grid, (&own, &machine), job, 12).0, 201);
    let other = grid.submit(&client, "true");
    let running = start(&mut machine);
    let worker = machine.papers.worker;
    let busy = || refused(accept(&grid, &client, job, worker, 12));
    assert_eq!(busy(), (409, "machine_busy".to_owned()));
    // When it would start: when what runs there is over at the latest.
    let start_at = || bids(&grid, &client, job)["bids"][0]["machine"]["start_at_ms"].as_u64();
    let submitted = grid.get(&client, &format!("jobs/{job}")).1["submitted_at_ms"].clone();
    until("it is known to start later", || start_at() > submitted.as_u64().map(|at| at + 60_000));
    end(&mut machine, running, Outcome::Succeeded);
    grid.ended(&client, other);
    assert_eq!(accept(&grid, &client, job, worker, 12).0, 200, "the bid has stood meanwhile");
    let told = machine.receive();
    let told = if matches!(told, ToWorker::Stored { .. }) { machine.receive() } else { told };
    assert!(matches!(told, ToWorker::Start { .. }), "{told:?}");
    grid.fsck();
}

#[test]
fn a_result_counts_when_the_machines_of_two_owners_agree() {
    let (grid, client) = started("market-verify");
    let mut owners: Vec<(User, FakeWorker)> = (1..=2).map(|number| owner(&grid, number)).collect();
    let job = submit(&grid, &client, &json!({"verify": true}));
    let detail = grid.get(&client, &format!("jobs/{job}")).1;
    let one = detail["task_micros"].as_i64().unwrap();
    assert_eq!((&detail["verify"], &detail["held_micros"]), (&json!(true), &json!(3 * one)));
    // Which of the two is first, the grid decides.
    let running = |(user, machine): &(User, FakeWorker)| {
        let path = format!("workers/{}", machine.papers.worker);
        grid.get(user, &path).1["running"] == 1
    };
    until("one of them runs it", || owners.iter().any(running));
    if !running(&owners[0]) {
        owners.swap(0, 1);
    }
    let attempt = start(&mut owners[0].1);
    end(&mut owners[0].1, attempt, Outcome::Succeeded);
    let checking =
        || grid.get(&client, &format!("jobs/{job}")).1["task_list"][0]["checking"].clone();
    until("the first result is there", || checking() == 1);
    let attempt = start(&mut owners[1].1);
    end(&mut owners[1].1, attempt, Outcome::Succeeded);
    let ended = grid.ended(&client, job);
    assert_eq!(ended["state"], "succeeded", "{ended}");
    let receipt = grid.get(&client, &format!("jobs/{job}/receipt")).1;
    assert_eq!(receipt["lines"].as_array().unwrap().len(), 2, "both are paid: {receipt}");
    for (user, machine) in &owners {
        let path = format!("workers/{}", machine.papers.worker);
        until("it is known to be right", || grid.get(user, &path).1["record"]["valid"] == 1);
        assert!(grid.get(user, "earnings").1["all"]["ever_micros"].as_i64().unwrap() > 0);
    }
    grid.fsck();
}

#[test]
fn a_machine_that_is_taken_out_hands_over_what_it_runs() {
    let (grid, client) = started("market-remove");
    let (own, mut machine) = owner(&grid, 1);
    let job = grid.submit(&client, "sleep 1000");
    let attempt = start(&mut machine);
    let path = format!("workers/{}", machine.papers.worker);
    until("it is seen to run", || grid.get(&own, &path).1["running"] == 1);
    std::thread::scope(|scope| {
        let removed = scope.spawn(|| grid.delete(&own, &path));
        let told = machine.receive();
        let ToWorker::Rules(rules) = told else { panic!("{told:?}") };
        assert!(rules.when.until_ms.is_some());
        machine.send(&ToManager::Shares(Box::new(shares(Phase::Closed, "no longer offered"))));
        end(&mut machine, attempt, Outcome::Returned(WorkerFault::Leaving));
        assert_eq!(removed.join().unwrap(), 204);
    });
    let detail = grid.get(&client, &format!("jobs/{job}")).1;
    assert_eq!((&detail["queued"], &detail["running"]), (&json!(1), &json!(0)));
    assert_eq!(detail["task_list"][0]["attempts"][0]["end"], "returned");
    grid.fsck();
}

/// Who asks for nothing is taken at their word.
#[test]
fn an_ask_for_nothing_can_be_accepted() {
    let (grid, client) = started("market-free");
    let (one, mut machine) = owner(&grid, 1);
    let worker = machine.papers.worker;
    let before = balance(&grid, &client);
    let job = submit(&grid, &client, &json!({"market": "hand"}));
    let ask = json!({"prices": {}, "automatic": true});
    let (status, answer) = grid.put(&one, &format!("workers/{worker}/ask"), &ask);
    assert_eq!(status, 200, "{answer}");
    until("it has bid by itself", || !standing(&bids(&grid, &client, job)).is_empty());
    assert_eq!(standing(&bids(&grid, &client, job)), [is("open", 0)]);
    assert_eq!(refused(accept(&grid, &client, job, worker, -1)), (409, "bid_gone".to_owned()));
    let (status, accepted) = accept(&grid, &client, job, worker, 0);
    assert_eq!(status, 200, "{accepted}");
    let attempt = start(&mut machine);
    end(&mut machine, attempt, Outcome::Succeeded);
    assert_eq!(grid.ended(&client, job)["charged_micros"], 0);
    assert_eq!(balance(&grid, &client), before);
    grid.fsck();
}
