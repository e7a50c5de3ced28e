//! Thousands of light fake workers in one process, real in their certificates, their TLS and their pauses:
//! all of them come back to a manager that was killed, while somebody looks at the dashboard.

mod machine;
mod prober;

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::api::Api;
use crate::clock::Stopwatch;
use crate::error::ChaosError;
use crate::grid::{Programs, make_folder};
use crate::manager::{Manager, ManagerPlan};
use machine::{Crowd, Machine};
use prober::{Prober, Times};

/// Beside the connections of workers: files, pipes, the dashboard's connections.
const OTHER_FILES: u64 = 200;

/// For all to be let in the first time, or to be back: more than is demanded, so that a failure shows
/// how far it came.
const PATIENCE: Duration = Duration::from_secs(240);

/// Longer than an answer takes even while everybody returns.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// What is to be done.
#[derive(Debug, Clone)]
pub struct FloodConfig {
    pub workers: u32,
    /// How long the manager stays away; workers look for it less and less often meanwhile.
    pub down: Duration,
    pub programs: Programs,
    /// Made, and removed again.
    pub folder: PathBuf,
}

/// What it has come to.
#[derive(Debug, Clone)]
pub struct FloodReport {
    pub workers: u32,
    /// Until all had certificates and were connected for the first time.
    pub joined_in: Duration,
    /// From the kill until the manager listened again, however long it was kept down.
    pub restarted_in: Duration,
    /// From then until all were connected, by what they say and by what the dashboard says.
    pub back_in: Duration,
    /// Of the dashboard's answers meanwhile.
    pub dashboard: Times,
    /// The manager's memory when all are back, and its highest. MiB.
    pub memory_mib: u64,
    pub memory_peak_mib: u64,
    /// Processor time of the manager from its second start on.
    pub manager_cpu: Duration,
}

impl FloodReport {
    /// Whether it is as good as was promised: all are back within a minute, and no answer of the
    /// dashboard took half a second.
    pub fn is_good(&self) -> bool {
        let Times { max, failures, .. } = self.dashboard;
        self.back_in <= Duration::from_secs(60) && max < Duration::from_millis(500) && failures == 0
    }
}

/// Joins all, kills the manager, and measures how all return.
///
/// # Errors
///
/// Whatever keeps it from being run, and `Patience` if not all come back.
pub fn run(config: &FloodConfig) -> Result<FloodReport, ChaosError> {
    raise_file_limit(u64::from(config.workers) + OTHER_FILES)?;
    make_folder(&config.folder)?;
    let report = run_in_folder(config);
    if report.is_ok() {
        let path = config.folder.clone();
        fs::remove_dir_all(&path).map_err(|source| ChaosError::Folder { path, source })?;
    }
    report
}

fn run_in_folder(config: &FloodConfig) -> Result<FloodReport, ChaosError> {
    let runtime = Runtime::new().map_err(|source| ChaosError::Runtime { source })?;
    let mut plan = ManagerPlan {
        program: config.programs.manager.clone(),
        folder: config.folder.clone(),
        ports: [0, 0],
        settings: Vec::new(),
    };
    let manager = plan.start()?;
    plan.ports = [manager.workers.port(), manager.dashboard.port()];
    let base = format!("http://{}", manager.dashboard);
    let api = Api::new(&base, ANSWER_LIMIT);
    let token = api.register("owner")?;
    let join_token = plan.join_token("owner", config.workers)?;

    let joining = Stopwatch::start();
    let crowd = Arc::new(Crowd::default());
    let (leave, left) = watch::channel(false);
    for number in 0..config.workers {
        let (token, crowd) = (join_token.clone(), Arc::clone(&crowd));
        let machine = Machine::new(number, manager.workers, crowd, left.clone());
        runtime.spawn(machine.live(token));
    }
    all_connected(config.workers, &crowd, &api.logged_in(&token), joining)?;
    let joined_in = joining.elapsed();

    let killed = Stopwatch::start();
    manager.process.kill()?;
    std::thread::sleep(config.down);
    let manager = plan.start()?;
    let restarted_in = killed.elapsed();
    let prober = Prober::start(&base, &token, manager.process.pid());
    let returning = Stopwatch::start();
    let back = all_connected(config.workers, &crowd, &api.logged_in(&token), returning);
    let back_in = returning.elapsed();
    let (dashboard, use_of) = prober.stop();
    let Manager { process, .. } = manager;
    leave.send_replace(true);
    process.stop(Duration::from_secs(20))?;
    back?;
    Ok(FloodReport {
        workers: config.workers,
        joined_in,
        restarted_in,
        back_in,
        dashboard,
        memory_mib: use_of.memory_mib,
        memory_peak_mib: use_of.memory_peak_mib,
        manager_cpu: use_of.cpu,
    })
}

/// Waits until all workers say that they are welcome, and the manager says the same of them.
fn all_connected(
    workers: u32,
    crowd: &Crowd,
    api: &Api,
    clock: Stopwatch,
) -> Result<(), ChaosError> {
    let limit_s = PATIENCE.as_secs();
    let tired = |found| ChaosError::Patience { what: "everybody's presence", limit_s, found };
    if !crowd.wait_for(workers, clock.left_of(PATIENCE)) {
        return Err(tired(crowd.to_string()));
    }
    loop {
        let online = api.workers_online()?;
        if online == workers {
            return Ok(());
        }
        if clock.elapsed() > PATIENCE {
            return Err(tired(format!("{crowd}; the manager knows of {online}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One descriptor for each connection, here and in the manager, which inherits the limit.
fn raise_file_limit(needed: u64) -> Result<(), ChaosError> {
    let failed = |source| ChaosError::Signal { what: "the own process".to_owned(), source };
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    if hard < needed {
        return Err(ChaosError::Files { needed, hard });
    }
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, needed, hard).map_err(failed)
    } else {
        Ok(())
    }
}

impl fmt::Display for FloodReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |span: Duration| span.as_secs_f32();
        let workers = self.workers;
        let each = self.joined_in.as_secs_f64() * 1000.0 / f64::from(workers.max(1));
        writeln!(
            f,
            "{:7.1} s   {workers} workers got certificates and connected ({each:.1} ms each)",
            seconds(self.joined_in)
        )?;
        writeln!(
            f,
            "{:7.1} s   from kill -9 until the manager listened again",
            seconds(self.restarted_in)
        )?;
        writeln!(f, "{:7.1} s   until all {workers} were back", seconds(self.back_in))?;
        writeln!(
            f,
            "{:7.1} s   of processor time that took the manager",
            seconds(self.manager_cpu)
        )?;
        writeln!(
            f,
            "{:5} MiB   its memory then, {} MiB at most",
            self.memory_mib, self.memory_peak_mib
        )?;
        let Times { answers, failures, p50, p99, max } = &self.dashboard;
        let ms = |span: &Duration| span.as_secs_f64() * 1000.0;
        write!(
            f,
            "the dashboard meanwhile: {answers} answers, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; {failures} failed",
            ms(p50),
            ms(p99),
            ms(max)
        )
    }
}
