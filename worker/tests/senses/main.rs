//! The owner's side of a worker against a real D-Bus with stand-ins for a desktop's services, and asked
//! over its socket. Skipped, and said so, where there is no dbus-daemon.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests: helpers are not seen as such, nor what interfaces of zbus come to"
)]

mod desktop;

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use campusgrid_protocol::rules::{ByHand, Conditions, Limits, Phase, Power, Rules, Wish};
use campusgrid_sharing::verdict::Verdict;
use campusgrid_worker::control::{self, ControlError, Question};
use campusgrid_worker::senses::bus::Address;
use campusgrid_worker::senses::{self, Order, Owner, Places, SensesConfig, Work};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::desktop::{Bus, Gnome, System, bare};

/// What happens at once happens within this time, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(10);

/// A keeper that runs.
struct Kept {
    owner: Owner,
    verdict: watch::Receiver<Verdict>,
    orders: mpsc::Receiver<Order>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Kept {
    async fn open(config: SensesConfig) -> Self {
        let (owner, orders, keeper) = senses::open(config).await.unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(keeper.run(shutdown.clone()));
        Self { verdict: owner.verdict(), owner, orders, shutdown, running }
    }

    fn now(&self) -> (Phase, String) {
        let verdict = self.verdict.borrow();
        (verdict.shares.phase, verdict.shares.why.clone())
    }

    /// Waits for a phase and words that begin so; how long that took.
    async fn becomes(&mut self, phase: Phase, why: &str) -> Duration {
        let begun = Instant::now();
        let is_so = |verdict: &Verdict| {
            verdict.shares.phase == phase && verdict.shares.why.starts_with(why)
        };
        let waited = timeout(SOON, self.verdict.wait_for(is_so)).await.is_ok();
        assert!(waited, "wanted {phase:?} {why}, is {:?}", self.now());
        begun.elapsed()
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.running.await.unwrap();
    }
}

fn config(folder: &Path, system: Address, session: Address) -> SensesConfig {
    let [sys, dev, proc] = bare(folder);
    let data_dir = folder.join("data");
    fs::create_dir_all(&data_dir).unwrap();
    SensesConfig {
        data_dir,
        policy: folder.join("policy.toml"),
        runtime_dir: None,
        places: Places { sys, dev, proc, system_bus: system, session_bus: session },
    }
}

fn nowhere() -> Address {
    Address::At("unix:path=/nonexistent/bus".to_owned())
}

fn at(bus: &Bus) -> Address {
    Address::At(bus.address.clone())
}

fn rules(when: Conditions) -> Rules {
    Rules { when, ..Rules::default() }
}

fn idle(minutes: u32) -> Rules {
    rules(Conditions { idle_minutes: minutes, ..Conditions::default() })
}

macro_rules! bus {
    ($folder:expr, $name:expr) => {
        match Bus::start($folder, $name) {
            Some(bus) => bus,
            None => {
                eprintln!("skipped: there is no dbus-daemon");
                return;
            }
        }
    };
}

#[tokio::test]
async fn logind_says_when_somebody_comes_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    let bus = bus!(folder.path(), "system");
    let system = System::serve(&bus, 300).await;
    let mut kept = Kept::open(config(folder.path(), at(&bus), nowhere())).await;
    // Without a rule that asks, nobody minds.
    assert_eq!(kept.now(), (Phase::Open, String::new()));
    kept.owner.rules(idle(4));
    kept.owner.rules(Rules { limits: Limits { cores: Some(1), ..Limits::default() }, ..idle(4) });
    timeout(SOON, kept.verdict.wait_for(|verdict| verdict.shares.limits.cores == Some(1)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.now(), (Phase::Open, String::new()));

    system.idle(None).await;
    let took = kept.becomes(Phase::Frozen, "in use since ").await;
    eprintln!("frozen {took:?} after logind had said so");
    assert!(took < Duration::from_millis(200), "{took:?}");
    // Half of the grace without anybody, and what is frozen goes on.
    system.idle(Some(31)).await;
    kept.becomes(Phase::Open, "").await;
    system.idle(None).await;
    kept.becomes(Phase::Frozen, "in use since ").await;
    system.idle(Some(1)).await;
    kept.becomes(Phase::Frozen, "in use until ").await;
    // Whoever locks the screen leaves, though the desktop may not say that it is idle.
    system.idle(None).await;
    kept.becomes(Phase::Frozen, "in use since ").await;
    system.lock(true).await;
    kept.becomes(Phase::Frozen, "in use until ").await;
    kept.end().await;
}

#[tokio::test]
async fn power_network_and_sleep_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let bus = bus!(folder.path(), "system");
    let system = System::serve(&bus, 300).await;
    let mut kept = Kept::open(config(folder.path(), at(&bus), nowhere())).await;
    assert_eq!(kept.now(), (Phase::Open, String::new()));
    system.battery(true).await;
    let took = kept.becomes(Phase::Frozen, "on battery since ").await;
    assert!(took < Duration::from_millis(200), "{took:?}");
    // 61 % are more than 50, and rules that have changed are looked at anew.
    kept.owner.rules(rules(Conditions { power: Power::Above(50), ..Conditions::default() }));
    kept.becomes(Phase::Open, "").await;
    system.metered(1).await;
    kept.becomes(Phase::Frozen, "on a metered network since ").await;
    kept.owner.rules(rules(Conditions {
        power: Power::Any,
        metered: true,
        ..Conditions::default()
    }));
    kept.becomes(Phase::Open, "").await;
    system.sleep(true).await;
    kept.becomes(Phase::Frozen, "it is being suspended").await;
    system.sleep(false).await;
    kept.becomes(Phase::Open, "").await;
    kept.end().await;
}

#[tokio::test]
async fn a_desktops_monitor_counts_before_logind() {
    let folder = tempfile::tempdir().unwrap();
    let (system_bus, session_bus) = (bus!(folder.path(), "system"), bus!(folder.path(), "session"));
    let system = System::serve(&system_bus, 0).await;
    // A desktop that never tells logind.
    system.idle(None).await;
    let gnome = Gnome::serve(&session_bus, 600_000).await;
    let mut kept = Kept::open(config(folder.path(), at(&system_bus), at(&session_bus))).await;
    kept.owner.rules(Rules { limits: Limits { cores: Some(1), ..Limits::default() }, ..idle(5) });
    timeout(SOON, kept.verdict.wait_for(|verdict| verdict.shares.limits.cores == Some(1)))
        .await
        .unwrap()
        .unwrap();
    kept.becomes(Phase::Open, "").await;
    timeout(SOON, async {
        while gnome.watches().await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    gnome.touch().await;
    let took = kept.becomes(Phase::Frozen, "in use").await;
    eprintln!("frozen {took:?} after GNOME had said so");
    assert!(took < Duration::from_millis(200), "{took:?}");
    kept.end().await;
}

#[tokio::test]
async fn hands_are_seen_when_the_bus_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let bus = bus!(folder.path(), "system");
    let system = System::serve(&bus, 600).await;
    let config = config(folder.path(), at(&bus), nowhere());
    let mouse = config.places.dev.join("input/event3");
    fs::create_dir_all(mouse.parent().unwrap()).unwrap();
    fs::write(&mouse, "moved").unwrap();
    let mut kept = Kept::open(config).await;
    kept.owner.rules(Rules { limits: Limits { cores: Some(1), ..Limits::default() }, ..idle(1) });
    timeout(SOON, kept.verdict.wait_for(|verdict| verdict.shares.limits.cores == Some(1)))
        .await
        .unwrap()
        .unwrap();
    kept.becomes(Phase::Open, "").await;
    drop((system, bus));
    let begun = Instant::now();
    // The watch may begin after the rule that asks for it.
    while kept.now().0 == Phase::Open && begun.elapsed() < SOON {
        fs::read(&mouse).unwrap();
        tokio::task::yield_now().await;
    }
    kept.becomes(Phase::Frozen, "in use").await;
    kept.end().await;
}

#[tokio::test]
async fn heat_programs_and_load_are_looked_up() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), nowhere(), nowhere());
    let zone = config.places.sys.join("class/thermal/thermal_zone0");
    fs::create_dir_all(&zone).unwrap();
    fs::write(zone.join("temp"), "55000").unwrap();
    let zoom = config.places.proc.join("77");
    let mut kept = Kept::open(config).await;
    let when = Conditions {
        temperature_c: 70,
        programs: vec!["zoom".to_owned()],
        grace_s: 0,
        ..Conditions::default()
    };
    kept.owner.rules(Rules {
        limits: Limits { cores: Some(1), ..Limits::default() },
        ..rules(when.clone())
    });
    timeout(SOON, kept.verdict.wait_for(|verdict| verdict.shares.limits.cores == Some(1)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.now(), (Phase::Open, String::new()));
    fs::write(zone.join("temp"), "71000").unwrap();
    kept.becomes(Phase::Closed, "hotter than 70 °C since ").await;
    kept.owner.rules(rules(Conditions { temperature_c: 0, ..when.clone() }));
    kept.becomes(Phase::Open, "").await;
    fs::create_dir_all(&zoom).unwrap();
    fs::write(zoom.join("cmdline"), "/opt/zoom\0").unwrap();
    fs::write(zoom.join("stat"), "77 (zoom) S 1 0 0 0 0 0 0 0 0 0 0 5 5 0 0\n").unwrap();
    kept.becomes(Phase::Closed, "zoom runs since ").await;
    kept.end().await;
}

#[tokio::test]
async fn nobody_waits_for_a_thermometer_that_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), nowhere(), nowhere());
    let data_dir = config.data_dir.clone();
    let zone = config.places.sys.join("class/thermal/thermal_zone0");
    fs::create_dir_all(&zone).unwrap();
    let thermometer = zone.join("temp");
    nix::unistd::mkfifo(&thermometer, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut kept = Kept::open(config).await;
    let cold = rules(Conditions { temperature_c: 70, ..Conditions::default() });
    kept.owner.rules(cold.clone());
    // Whoever reads it waits from now on.
    let open = fs::File::options().write(true).custom_flags(nix::libc::O_NONBLOCK).clone();
    let begun = Instant::now();
    let held = loop {
        match open.open(&thermometer) {
            Ok(held) => break held,
            Err(error) => assert!(begun.elapsed() < SOON, "nobody reads it: {error}"),
        }
        tokio::task::yield_now().await;
    };
    let by_hand = Some(ByHand { wish: Wish::Pause, until_ms: None });
    kept.owner.rules(Rules { by_hand, ..cold });
    kept.becomes(Phase::Closed, "paused").await;
    let pause = Question::ByHand { by_hand };
    let status = control::ask(&data_dir, &pause).await.unwrap();
    assert!(
        status.phase == Phase::Closed && status.why.starts_with("paused by hand"),
        "{status:?}"
    );
    drop(held);
    kept.end().await;
}

#[tokio::test]
async fn the_owner_asks_pauses_and_stops_over_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("policy.toml"), "[limits]\ncores = 2\n").unwrap();
    let config = config(folder.path(), nowhere(), nowhere());
    let data_dir = config.data_dir.clone();
    let mut kept = Kept::open(config.clone()).await;
    kept.owner.works_for(Some("ada".to_owned()));
    kept.owner.earned(1_500_000);
    kept.owner.works(vec![work("12.0#1"), work("12.1#1"), work("13.0#2")]);
    let ask = async |question: Question| control::ask(&data_dir, &question).await;
    let status = ask(Question::Status).await.unwrap();
    assert_eq!((status.phase, status.limits.cores), (Phase::Open, Some(2)));
    assert_eq!((status.works_for.as_deref(), status.earned_micros), (Some("ada"), Some(1_500_000)));
    assert_eq!(status.works.len(), 3);
    assert!(status.policy.unwrap().ends_with("policy.toml"));

    let pause = Some(ByHand { wish: Wish::Pause, until_ms: None });
    let status = ask(Question::ByHand { by_hand: pause }).await.unwrap();
    assert_eq!((status.phase, status.why.as_str()), (Phase::Closed, "paused by hand"));
    kept.becomes(Phase::Closed, "paused by hand").await;
    let past = Some(ByHand { wish: Wish::Pause, until_ms: Some(5) });
    let refused = ask(Question::ByHand { by_hand: past }).await;
    assert!(matches!(refused, Err(ControlError::Refused(_))), "{refused:?}");

    let stop = |named: &str| Question::Stop { attempt: named.to_owned() };
    ask(stop("13")).await.unwrap();
    let attempt = "13.0#2".parse().unwrap();
    assert_eq!(kept.orders.recv().await, Some(Order::Stop { attempt }));
    let several = ask(stop("12")).await.unwrap_err().to_string();
    assert_eq!(several, "which one: 12.0#1, 12.1#1?");
    let none = ask(stop("99")).await.unwrap_err().to_string();
    assert_eq!(none, "nothing runs here that is called 99");
    kept.end().await;
    let gone = ask(Question::Status).await.unwrap_err();
    assert!(matches!(gone, ControlError::NoWorker { .. }), "{gone}");

    // What was said holds after a start, until it is taken back.
    let mut kept = Kept::open(config).await;
    assert_eq!(kept.now(), (Phase::Closed, "paused by hand".to_owned()));
    ask(Question::ByHand { by_hand: None }).await.unwrap();
    kept.becomes(Phase::Open, "").await;
    kept.end().await;
}

#[tokio::test]
async fn a_policy_that_cannot_be_followed_shares_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("policy.toml"), "[when]\nnever = true\n").unwrap();
    let mut kept = Kept::open(config(folder.path(), nowhere(), nowhere())).await;
    let (phase, why) = kept.now();
    assert_eq!(phase, Phase::Closed);
    assert!(
        why.starts_with("its policy file cannot be followed: ") && why.contains("never"),
        "{why}"
    );
    // Mended it holds, without another start.
    fs::write(folder.path().join("policy.toml"), "[limits]\ncores = 1\n").unwrap();
    kept.becomes(Phase::Open, "").await;
    kept.end().await;
}

#[tokio::test]
async fn strangers_may_not_ask() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), nowhere(), nowhere());
    let socket = config.data_dir.join("control.sock");
    let kept = Kept::open(config.clone()).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o600);
    kept.end().await;
    // A service is for its group as well.
    let runtime = folder.path().join("run");
    fs::create_dir_all(&runtime).unwrap();
    let kept = Kept::open(SensesConfig { runtime_dir: Some(runtime.clone()), ..config }).await;
    assert_eq!(mode(&runtime.join("control.sock")), 0o660);
    kept.end().await;
}

fn work(attempt: &str) -> Work {
    Work {
        attempt: attempt.to_owned(),
        whose: "bob".to_owned(),
        name: "render".to_owned(),
        since_ms: 0,
        cpu_millis: 1000,
        ram_mib: 256,
        gpus: 0,
        limit_ms: 60_000,
        state: "running".to_owned(),
    }
}
