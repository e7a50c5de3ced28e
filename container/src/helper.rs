//! The first process of a container: starts the steps of tasks, reaps them, sends what they leave.
//!
//! It is the worker's own binary, with the libraries that it needs, so that any image will do. It
//! runs as the task's user without a single privilege; the task cannot signal it, being its
//! namespace's init, nor look into it. When the worker is gone, or silent for too long, it exits,
//! and the kernel kills what else is in the container.

mod cgroup;
mod checkpoint;
mod link;
mod outputs;
mod processes;
mod residue;
mod step;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

use campusgrid_sandbox::checkpoint::CHECKPOINT;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};

use crate::event::{Afterwards, Done, Event, Full, JOB, OUTPUTS, Order, VERSION, WRITABLE};
use crate::wire::Kind;
use link::Link;
use step::Steps;

/// The first argument that makes a worker's binary a container's first process.
pub const HELPER_ARGUMENT: &str = "__container";
/// The second argument of a run that only lets the loader tell which libraries there are.
pub(crate) const LIBRARIES_ARGUMENT: &str = "libraries";

/// Serves tasks over standard input and output, one after another, until the worker leaves.
///
/// To be called before the program starts a thread or opens a file, when its first argument is
/// [`HELPER_ARGUMENT`].
pub fn helper_main() -> ! {
    if std::env::args().nth(2).as_deref() == Some(LIBRARIES_ARGUMENT) {
        std::process::exit(0);
    }
    // Before the container's own process is there to be looked at, and before anything else runs.
    let hidden = File::options()
        .write(true)
        .open("/proc/self/oom_score_adj")
        .and_then(|score| prctl::set_dumpable(false).map(|()| score).map_err(io::Error::from));
    umask(Mode::from_bits_truncate(0o077));
    let code = match hidden.and_then(|score| serve(&mut Link::open()?, score)) {
        Ok(()) => 0,
        Err(error) => {
            // The worker keeps it to explain why the container has ended.
            let _nobody = writeln!(io::stderr(), "{error}");
            1
        }
    };
    std::process::exit(code)
}

fn serve(link: &mut Link, score: File) -> io::Result<()> {
    link.tell(&Event::Hello { version: VERSION, held: cgroup::held()? })?;
    let mut steps = Steps::new(score);
    loop {
        let frame = link.command()?;
        match frame.kind {
            Kind::Order => {
                let order: Order = serde_json::from_slice(&frame.payload)?;
                if let Err(error) = run(link, &mut steps, &order) {
                    link.tell(&Event::Failed { message: error.to_string() })?;
                    return link.flush();
                }
            }
            // Meant for a task that had ended by itself meanwhile.
            Kind::Terminate
            | Kind::HandBack
            | Kind::Kill
            | Kind::Warn
            | Kind::Freeze
            | Kind::Thaw
            | Kind::Save
            | Kind::Ping
            | Kind::Content => {}
            Kind::Event | Kind::Stdout | Kind::Stderr | Kind::Data => {
                return Err(io::Error::other("the worker sent what only a helper may"));
            }
        }
    }
}

/// One task, from its files to its last trace.
fn run(link: &mut Link, steps: &mut Steps, order: &Order) -> io::Result<()> {
    let before = cgroup::Counters::read();
    link.begin_task();
    receive_files(link, order)?;
    let mut failed = false;
    for step in 0..order.steps.len() {
        // What was frozen between two steps goes on with the next one when it is thawed.
        while link.is_frozen() && !link.is_stopped() {
            link.pump(&mut [])?;
        }
        if link.is_stopped() {
            break;
        }
        failed = !steps.run(link, order, step)?;
        if failed {
            break;
        }
    }
    let spent = cgroup::Counters::read().since(before);
    let full = if failed { residue::full(order.file_bytes) } else { None };
    link.tell(&Event::Done(Done {
        full,
        cpu_ms: spent.cpu_us / 1000,
        ram_peak_kib: spent.ram_peak_bytes.max(steps.ram_peak_bytes()) / 1024,
        oom_kills: spent.oom_kills,
        forks_refused: spent.forks_refused,
    }))?;
    outputs::send(link, order)?;
    if link.is_handed_back() && order.restored.is_some() {
        checkpoint::send(link, order)?;
    }
    let residue = match order.afterwards {
        Afterwards::Nothing => Some("nobody wants it removed".to_owned()),
        Afterwards::Remove => residue::remove(&WRITABLE).err(),
        Afterwards::RemoveButTmp => residue::remove(&["/job", "/dev/shm"]).err(),
    };
    link.tell(&Event::Ready { residue })
}

/// Writes the task's files, which follow the order, and makes its links and its outputs directory.
fn receive_files(link: &mut Link, order: &Order) -> io::Result<()> {
    for (path, length) in &order.files {
        receive_file(link, &Path::new(JOB).join(path), *length)?;
    }
    if let Some(restored) = &order.restored {
        let directory = Path::new(JOB).join(CHECKPOINT);
        fs::create_dir(&directory)?;
        for (path, length) in restored {
            receive_file(link, &directory.join(path), *length)?;
        }
    }
    for (name, target) in &order.links {
        symlink(target, Path::new(JOB).join(name))?;
    }
    if order.has_outputs {
        fs::create_dir_all(OUTPUTS)?;
    }
    Ok(())
}

fn receive_file(link: &mut Link, target: &Path, length: u64) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = File::create_new(target)?;
    let mut missing = length;
    while missing > 0 {
        let frame = link.command()?;
        match frame.kind {
            Kind::Content if frame.payload.len() as u64 <= missing => {
                file.write_all(&frame.payload)?;
                missing -= frame.payload.len() as u64;
            }
            Kind::Terminate
            | Kind::HandBack
            | Kind::Kill
            | Kind::Warn
            | Kind::Freeze
            | Kind::Thaw
            | Kind::Save
            | Kind::Ping => {}
            Kind::Content
            | Kind::Order
            | Kind::Event
            | Kind::Stdout
            | Kind::Stderr
            | Kind::Data => return Err(io::Error::other("a file's content is missing")),
        }
    }
    Ok(())
}

impl Full {
    /// What a writable place with these numbers left has used up.
    fn of(blocks_left: u64, files_left: u64) -> Option<Self> {
        if blocks_left == 0 {
            Some(Self::Space)
        } else if files_left == 0 {
            Some(Self::Files)
        } else {
            None
        }
    }
}
