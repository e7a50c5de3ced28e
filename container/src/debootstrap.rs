//! Builds the default image from a distribution's packages, without a registry or a Dockerfile.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bollard::Docker;
use bollard::query_parameters::CreateImageOptions;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use nix::unistd::Uid;
use tokio::sync::mpsc;

use crate::error::EngineError;
use crate::image::DEFAULT_TAG;

/// Pieces of an image on their way to the engine.
const WAITING: usize = 8;
const PIECE_BYTES: usize = 256 << 10;
/// Kept of what a program says before it fails.
const SAID_LINES: usize = 5;
/// What packages leave that no job needs.
const REMOVED: [&str; 6] = [
    "var/cache/apt/archives",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "var/log",
];

/// What goes into the default image.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Debian's name of the release, such as `stable`.
    pub suite: String,
    /// Where the packages are; debootstrap's own choice if `None`.
    pub mirror: Option<String>,
    pub packages: Vec<String>,
    /// A directory to build in, not there yet, on a file system with devices and programs. Removed
    /// in the end.
    pub work: PathBuf,
}

impl Recipe {
    /// Python with NumPy and scikit-learn, a C compiler with OpenMP.
    pub fn standard(work: PathBuf) -> Self {
        let packages =
            ["python3", "python3-numpy", "python3-sklearn", "gcc", "libc6-dev", "libgomp1"];
        Self {
            suite: "stable".to_owned(),
            mirror: None,
            packages: packages.map(str::to_owned).to_vec(),
            work,
        }
    }
}

pub(crate) async fn build(
    docker: &Docker,
    recipe: Recipe,
    mut say: impl FnMut(&str) + Send + 'static,
) -> Result<(), EngineError> {
    if !Uid::effective().is_root() {
        return Err(EngineError::NotRoot);
    }
    let work = recipe.work.clone();
    let made = tokio::task::spawn_blocking(move || {
        let made = bootstrap(&recipe, &mut say);
        (made, say)
    });
    let made = made.await.map_err(io::Error::other);
    let (made, mut say) = made.map_err(EngineError::host("build on another thread"))?;
    let imported = match made {
        Ok(()) => {
            say("handing the image to the engine");
            import(docker, work.clone(), DEFAULT_TAG).await
        }
        Err(error) => Err(error),
    };
    let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(work)).await;
    let removed = removed.map_err(io::Error::other).and_then(|removed| removed);
    imported?;
    removed.map_err(EngineError::host("remove the directory of the build"))?;
    say("the default image is ready");
    Ok(())
}

/// Fills the directory with a system. Blocks for minutes.
fn bootstrap(recipe: &Recipe, say: &mut impl FnMut(&str)) -> Result<(), EngineError> {
    if let Some(parent) = recipe.work.parent() {
        fs::create_dir_all(parent).map_err(EngineError::host("make a directory to build in"))?;
    }
    fs::create_dir(&recipe.work).map_err(EngineError::host("make a directory to build in"))?;
    let mut command = Command::new("debootstrap");
    command.arg("--variant=minbase").arg(format!("--include={}", recipe.packages.join(",")));
    command.arg(&recipe.suite).arg(&recipe.work).args(&recipe.mirror);
    let mut child = start(command.stderr(Stdio::null()).env("LC_ALL", "C"))?;
    let mut last = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            say(&line);
            last.push(line);
            if last.len() > SAID_LINES {
                last.remove(0);
            }
        }
    }
    end(child, "debootstrap", &last.join("; "))?;
    for place in REMOVED {
        // What is not there need not go.
        let _missing = fs::remove_dir_all(recipe.work.join(place));
    }
    Ok(())
}

/// Hands the tree beneath `directory` to the engine as an image.
pub(crate) async fn import(
    docker: &Docker,
    directory: PathBuf,
    tag: &'static str,
) -> Result<(), EngineError> {
    let (repo, version) = tag.split_once(':').unwrap_or((tag, "latest"));
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(repo.to_owned()),
        tag: Some(version.to_owned()),
        ..CreateImageOptions::default()
    };
    let (sender, receiver) = mpsc::channel::<Result<Bytes, io::Error>>(WAITING);
    let packing = tokio::task::spawn_blocking(move || pack(&directory, &sender));
    let body = unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let body = bollard::body_try_stream(body);
    let mut imported = Box::pin(docker.create_image(Some(options), Some(body), None));
    let mut answered = Ok(());
    while let Some(step) = imported.next().await {
        if let Err(error) = step {
            answered = Err(EngineError::from_answer("take an image", error));
        }
    }
    drop(imported);
    let packed = packing.await.map_err(io::Error::other);
    packed.map_err(EngineError::host("pack an image on another thread"))??;
    answered
}

/// Sends a tar file of a directory. Blocks.
fn pack(
    directory: &Path,
    pieces: &mpsc::Sender<Result<Bytes, io::Error>>,
) -> Result<(), EngineError> {
    let mut command = Command::new("tar");
    command.args(["--create", "--numeric-owner", "--one-file-system", "--sort=name"]);
    command.args(["--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./dev/*"]);
    command.arg("--directory").arg(directory).arg(".");
    let mut child = start(command.stderr(Stdio::inherit()))?;
    let mut stdout = child.stdout.take();
    let mut buffer = vec![0; PIECE_BYTES];
    while let Some(pipe) = &mut stdout {
        let read = pipe.read(&mut buffer).map_err(EngineError::host("read what tar packs"))?;
        let piece = Bytes::copy_from_slice(&buffer[..read]);
        if read == 0 || pieces.blocking_send(Ok(piece)).is_err() {
            stdout = None; // At its end, or the engine takes no more.
        }
    }
    let ended = end(child, "tar", "");
    if ended.is_err() {
        // So that the engine does not take half an image for a whole one.
        let _gone = pieces.blocking_send(Err(io::Error::other("tar failed")));
    }
    ended
}

fn start(command: &mut Command) -> Result<Child, EngineError> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|error| {
        let said = format!("{error}; to mend it: sudo apt install {name}");
        EngineError::Program { program: name, said }
    })
}

fn end(mut child: Child, program: &str, said: &str) -> Result<(), EngineError> {
    let status = child.wait().map_err(EngineError::host("wait for a program"))?;
    if status.success() {
        return Ok(());
    }
    Err(EngineError::Program { program: program.to_owned(), said: format!("{status}; {said}") })
}
