//! The manager on a disk that is really full: nothing is lost, nothing is acknowledged that is not kept,
//! and all goes on when there is room again. Needs a file system of its own, and is skipped with the
//! reason where none is to be had.

#![expect(clippy::print_stderr, reason = "what the processes print belongs to the test's output")]
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod grid;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use campusgrid_protocol::hello::ConnectionKind;
use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::message::{BulkToManager, BulkToWorker, ToManager, ToWorker};
use campusgrid_protocol::task::{BlobRef, Ended, Outcome};
use grid::fake::{FakeWorker, introduction};
use grid::line::Line;
use grid::{Grid, User};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::geteuid;
use serde_json::{Value, json};

/// Of the small file system. MiB.
const DISK_MIB: u64 = 48;

/// 8 MiB are kept free, 4 of them by the ballast.
const RESERVE: (&str, &str) = ("CAMPUSGRID_MANAGER_DISK_RESERVE_MIB", "8");

/// Set where the test runs in namespaces of its own.
const INSIDE: &str = "CAMPUSGRID_TEST_IN_NAMESPACES";

/// A small file system, and a file that fills it.
struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    fn mount(place: &Path) -> nix::Result<Self> {
        let options = format!("size={DISK_MIB}m,mode=0700");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("none"), place, Some("tmpfs"), flags, Some(options.as_str()))?;
        Ok(Self { place: place.to_owned() })
    }

    fn filler(&self) -> PathBuf {
        self.place.join("filler")
    }

    /// Leaves this much free.
    fn fill_to(&self, left_kib: u64) {
        let space = nix::sys::statvfs::statvfs(&self.place).unwrap();
        let free = space.blocks_available() * space.fragment_size();
        let mut file = File::options().create(true).append(true).open(self.filler()).unwrap();
        for _ in 0..free.saturating_sub(left_kib << 10) >> 10 {
            file.write_all(&[0; 1024]).unwrap();
        }
    }

    /// Leaves nothing, not a byte.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).unwrap();
        while file.write_all(&[0; 1024]).is_ok() {}
        while file.write_all(&[0; 1]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.place, MntFlags::MNT_DETACH); // The system does at the end.
    }
}

/// A manager on a small disk; None, and the reason on standard error, where there can be none.
fn start(test: &str) -> Option<(Grid, SmallDisk)> {
    start_with(test, &[])
}

/// With these environment variables.
fn start_with(test: &str, settings: &[(&'static str, &'static str)]) -> Option<(Grid, SmallDisk)> {
    if !geteuid().is_root() {
        enter_namespaces(test);
        return None;
    }
    let settings = [&[RESERVE, ("STARTING_CREDITS", "100000")], settings].concat();
    let mut grid = Grid::start_with("full", &settings);
    grid.stop_manager();
    match SmallDisk::mount(&grid.manager_dir()) {
        Ok(disk) => {
            grid.start_manager();
            Some((grid, disk))
        }
        Err(error) => {
            eprintln!("skipped: no file system of its own can be mounted here: {error}");
            None
        }
    }
}

/// Runs this test again as the superuser of namespaces of its own.
fn enter_namespaces(test: &str) {
    assert!(std::env::var_os(INSIDE).is_none(), "in a user namespace one is its superuser");
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "--"]);
    let mut can = Command::new("unshare");
    if !can
        .args(["--user", "--map-root-user", "--mount", "true"])
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("skipped: neither the superuser nor able to make namespaces");
        return;
    }
    unshare.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    assert!(unshare.env(INSIDE, "1").status().unwrap().success());
}

/// What a submit is answered with. A key makes it the same one each time.
fn submit(grid: &Grid, user: &User, name: &str) -> (u16, Value) {
    let body = json!({ "kind": "shell", "source": "true", "ram_mib": 64, "name": name });
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let agent = config.build().new_agent();
    let request = agent.post(format!("http://127.0.0.1:{}/api/v1/jobs", grid.dashboard));
    let request = request.header("authorization", format!("Bearer {}", user.token));
    let mut answer = request.header("idempotency-key", name).send_json(body).unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap())
}

/// Whether the manager says to everybody that a batch waits for room.
fn is_stuck(grid: &Grid) -> bool {
    let answer = ureq::get(format!("http://127.0.0.1:{}/health", grid.dashboard)).call();
    let health = answer.unwrap().body_mut().read_to_string().unwrap();
    health.contains("no room for what must be written")
}

/// Submits until the manager has seen that its disk is full; yields what it says then, and the jobs that
/// it took before.
fn submit_until_refused(grid: &Grid, user: &User) -> (Value, u64) {
    let (mut refusal, mut taken) = (Value::Null, 0);
    grid::until("the disk is seen to be full", || {
        match submit(grid, user, &format!("until-{taken}")) {
            (201, _) => {
                taken += 1;
                false
            }
            (507, answer) => {
                refusal = answer;
                true
            }
            other => panic!("{other:?}"),
        }
    });
    (refusal, taken)
}

/// Submits until the manager has seen that there is room again; yields the job.
fn submit_until_taken(grid: &Grid, user: &User, name: &str) -> u64 {
    let mut taken = None;
    grid::until("there is room again", || match submit(grid, user, name) {
        (201, answer) => {
            taken = answer["job"].as_u64();
            true
        }
        (507, _) => false,
        other => panic!("{other:?}"),
    });
    taken.unwrap()
}

#[test]
fn what_runs_goes_on_and_its_result_waits_until_there_is_room() {
    let test = "what_runs_goes_on_and_its_result_waits_until_there_is_room";
    let Some((grid, disk)) = start(test) else { return };
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    let mut worker = FakeWorker::join_for(&grid, &bob, introduction(1));
    let job = grid.submit(&ada, "true");
    let ToWorker::Start { attempt, .. } = worker.receive() else { panic!("no start") };
    worker.send(&ToManager::Started { attempt });
    disk.fill_to(2048);

    let (refusal, taken) = submit_until_refused(&grid, &ada);
    assert_eq!(refusal["error"]["code"], "disk_full", "{refusal}");
    let words = refusal["error"]["message"].as_str().unwrap();
    assert!(words.contains("disk is full"), "{words}");
    // What runs is renewed; what was taken before may have started, and nothing since.
    let started = worker.until_renewed(1, attempt);
    assert!(started.len() as u64 <= taken, "{started:?}");
    worker.send(&ToManager::Ended(Box::new(Ended::empty(attempt, Outcome::Succeeded))));
    assert_eq!(worker.until_renewed(2, attempt), [], "the result waits");
    let mut bulk = Line::open(grid.port, &worker.papers, ConnectionKind::Bulk).unwrap();
    bulk.send(&BulkToManager::Open { attempt });
    let mut answer = bulk.receive();
    if answer == BulkToWorker::Ready {
        bulk.send(&BulkToManager::Blob(BlobRef { hash: BlobHash([1; 32]), size_bytes: 4 << 20 }));
        answer = bulk.receive();
    }
    assert!(matches!(answer, BulkToWorker::Later { .. }), "{answer:?}");
    // Reading and logging in go on.
    let (status, running) = grid.get(&ada, &format!("jobs/{job}"));
    assert_eq!((status, &running["ended_at_ms"]), (200, &Value::Null));
    let login = json!({ "name": "ada", "password": "correct horse battery" });
    assert_eq!(grid.post(&ada, "login", &login).0, 200);

    disk.make_room();
    let mut sequence = 3;
    grid::until("the result is stored", || {
        // As workers do until they are answered.
        worker.send(&ToManager::Ended(Box::new(Ended::empty(attempt, Outcome::Succeeded))));
        sequence += 1;
        worker.until_renewed(sequence, attempt).contains(&ToWorker::Stored { attempt })
    });
    assert_eq!(grid.ended(&ada, job)["state"], "succeeded");
    assert_eq!(submit(&grid, &ada, "after").0, 201);
    grid.fsck();
}

#[test]
fn a_disk_that_is_full_to_the_last_byte_stops_nothing_for_good() {
    let test = "a_disk_that_is_full_to_the_last_byte_stops_nothing_for_good";
    let Some((mut grid, disk)) = start(test) else { return };
    let ada = grid.register("ada");
    let login = json!({ "name": "ada", "password": "correct horse battery" });
    disk.fill();
    // The ballast is given up for what must be written.
    for _ in 0..20 {
        assert_eq!(grid.post(&ada, "login", &login).0, 200);
    }
    assert!(!grid.manager_dir().join("ballast").exists());
    submit_until_refused(&grid, &ada);
    // And then that is full as well: whoever asks waits, and is answered when there is room.
    disk.fill();
    let is_answered = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut logins = 0;
            while !is_answered.load(Ordering::Relaxed) {
                // The one that finds no room waits; those after it are sent away.
                match grid.post(&ada, "login", &login).0 {
                    200 => logins += 1,
                    status => assert_eq!(status, 507),
                }
            }
            logins
        });
        // Reads go on beside it, and say what is the matter.
        grid::until("it is stuck", || is_stuck(&grid));
        assert_eq!(grid.get(&ada, "me").0, 200);
        disk.make_room();
        is_answered.store(true, Ordering::Relaxed);
        assert!(asking.join().unwrap() > 0);
    });
    // Room again: jobs are taken in, and the ballast is taken.
    submit_until_taken(&grid, &ada, "again");
    grid.fsck();
    let (status, took) = grid.stop_manager();
    assert!(status.success(), "{status}");
    assert!(took.as_secs() < 10, "{took:?}");
    assert!(grid.manager_dir().join("ballast").exists());
}

/// By a command, which waits for its answer in a process of its own.
fn set_password(grid: &Grid, name: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campusgrid-manager"));
    command.args(["password", name, "--data-dir"]).arg(grid.manager_dir());
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"correct horse battery\n").unwrap();
    child
}

#[test]
fn a_manager_that_waits_for_room_can_be_stopped() {
    let Some((mut grid, disk)) = start("a_manager_that_waits_for_room_can_be_stopped") else {
        return;
    };
    let ada = grid.register("ada");
    fs::remove_file(grid.manager_dir().join("ballast")).unwrap();
    disk.fill();
    // Until one finds no room.
    let mut asking = set_password(&grid, "ada");
    grid::until("one finds no room", || {
        if asking.try_wait().unwrap().is_some() {
            asking = set_password(&grid, "ada");
        }
        is_stuck(&grid)
    });
    let (status, took) = grid.stop_manager();
    assert!(!asking.wait().unwrap().success(), "it was told that it was done");
    assert!(!status.success(), "something was left unwritten");
    assert!(took.as_secs() < 10, "{took:?}");
    disk.make_room();
    grid.start_manager();
    let login = json!({ "name": "ada", "password": "correct horse battery" });
    assert_eq!(grid.post(&ada, "login", &login).0, 200);
    grid.fsck();
}

/// The lease is of five seconds here, and the disk has no room for six.
#[test]
fn what_runs_outlives_a_disk_that_is_full_to_the_last_byte_for_longer_than_a_lease() {
    let test = "what_runs_outlives_a_disk_that_is_full_to_the_last_byte_for_longer_than_a_lease";
    let short = ("CAMPUSGRID_MANAGER_LEASE_MS", "5000");
    let Some((grid, disk)) = start_with(test, &[short]) else { return };
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    grid.register("eve"); // Her logins are closed.
    let mut worker = FakeWorker::join_for(&grid, &bob, introduction(1));
    let job = grid.submit(&ada, "true");
    let ToWorker::Start { attempt, .. } = worker.receive() else { panic!("no start") };
    worker.send(&ToManager::Started { attempt });
    worker.until_renewed(1, attempt);
    fs::remove_file(grid.manager_dir().join("ballast")).unwrap();
    disk.fill();
    let mut asking = set_password(&grid, "eve");
    let mut sequence = 1;
    grid::until("one finds no room", || {
        if asking.try_wait().unwrap().is_some() {
            asking = set_password(&grid, "eve");
        }
        // No heartbeat yet: one that the engine has got just before is answered when there is room.
        is_stuck(&grid)
    });
    let stuck_at = grid::now();
    grid::until("it is longer than a lease", || {
        assert!(is_stuck(&grid));
        sequence += 1;
        assert_eq!(worker.until_renewed(sequence, attempt), []);
        grid::now().duration_since(stuck_at).as_secs() >= 6
    });
    disk.make_room();
    asking.wait().unwrap();
    grid::until("the result is stored", || {
        worker.send(&ToManager::Ended(Box::new(Ended::empty(attempt, Outcome::Succeeded))));
        sequence += 1;
        worker.until_renewed(sequence, attempt).contains(&ToWorker::Stored { attempt })
    });
    let ended = grid.ended(&ada, job);
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(grid.get(&ada, "me").0, 200);
    grid.fsck();
}

/// Fills the disk to the last byte and kills the manager, again and again, while clients submit.
#[test]
fn whatever_was_acknowledged_outlives_full_disks_and_deaths() {
    let test = "whatever_was_acknowledged_outlives_full_disks_and_deaths";
    let Some((mut grid, disk)) = start(test) else { return };
    let ada = grid.register("ada");
    let mut promised = Vec::new();
    for round in 0..6 {
        for number in 0..5 + round * 3 {
            let name = format!("{round}-{number}");
            promised.push((name.clone(), submit_until_taken(&grid, &ada, &name)));
        }
        disk.fill();
        for number in 0..20 {
            let name = format!("{round}-full-{number}");
            match submit(&grid, &ada, &name) {
                (201, answer) => promised.push((name, answer["job"].as_u64().unwrap())),
                (507, _) => {}
                other => panic!("{other:?}"),
            }
        }
        if round % 2 == 1 {
            grid.kill_manager();
            // It starts on a full disk, too.
            grid.start_manager();
            for (name, job) in &promised {
                let (status, answer) = grid.get(&ada, &format!("jobs/{job}"));
                assert_eq!((status, answer["name"].as_str()), (200, Some(name.as_str())));
            }
        }
        grid.fsck();
        disk.make_room();
    }
    assert!(promised.len() > 20, "{promised:?}");
    for (name, job) in &promised {
        // Under its key a submit finds the job that was promised.
        assert_eq!(submit_until_taken(&grid, &ada, name), *job, "{name}");
    }
    let (_, credits) = grid.get(&ada, "credits");
    let (balance, held) = (&credits["balance_micros"], &credits["held_micros"]);
    assert_eq!(balance.as_i64().unwrap() + held.as_i64().unwrap(), 100_000_000_000);
    grid.fsck();
}
