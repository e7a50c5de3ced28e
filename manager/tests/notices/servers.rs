//! Servers of others that notices go to, each a process of its own that is ended with its test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;

/// Where `cargo xtask` installs uv, beneath the home directory.
const UV_OF_XTASK: &str = ".cache/campusgrid/tools/uv/bin/uv";

/// From PyPI.
const AIOSMTPD: &str = "aiosmtpd==1.4.6";

/// Things that a server may have got before its test asks for them.
const LINES_MAX: usize = 1000;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that prints its port and then a line of JSON for each thing that it gets.
pub(crate) struct Server {
    process: Child,
    lines: Receiver<Value>,
    pub(crate) port: u16,
}

impl Server {
    fn start(python: &Path, script: &str, arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/notices").join(script);
        let mut process = Command::new(python)
            .arg(script)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut port = String::new();
        output.read_line(&mut port).unwrap();
        let port = port.trim().parse().unwrap();
        Self { process, lines: read_on(output), port }
    }

    /// A mail server: how it is encrypted, who may use it, and how many mails it puts off first.
    pub(crate) fn of_mail(
        python: &Path,
        encryption: &str,
        papers: &Papers,
        login: (&str, &str),
        put_off: u32,
    ) -> Self {
        let (certificate, key) =
            (papers.certificate.to_str().unwrap(), papers.key.to_str().unwrap());
        let put_off = put_off.to_string();
        let arguments = [encryption, certificate, key, login.0, login.1, &put_off];
        Self::start(python, "smtp_server.py", &arguments)
    }

    /// A receiver of webhooks that answers with these statuses.
    pub(crate) fn of_webhooks(
        secret: &str,
        port: u16,
        papers: Option<&Papers>,
        answers: &str,
    ) -> Self {
        let files = papers.map(|papers| (&papers.certificate, &papers.key));
        let (certificate, key) = files.map_or(("-", "-"), |(certificate, key)| {
            (certificate.to_str().unwrap(), key.to_str().unwrap())
        });
        let arguments = [secret, &port.to_string(), certificate, key, answers];
        Self::start(Path::new("python3"), "receiver.py", &arguments)
    }

    /// What it gets next.
    pub(crate) fn next(&self) -> Value {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// Whether it gets nothing for so long.
    pub(crate) fn is_quiet(&self, time: Duration) -> bool {
        self.lines.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn read_on(output: BufReader<ChildStdout>) -> Receiver<Value> {
    let (tell, told) = sync_channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if tell.send(serde_json::from_str(&line).unwrap()).is_err() {
                return;
            }
        }
    });
    told
}

/// The certificate of a server on this machine, and of the authority that has signed it.
pub(crate) struct Papers {
    pub(crate) authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Papers {
    /// Makes them in a folder.
    pub(crate) fn make(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        Self {
            authority: write("authority.pem", authority.pem()),
            certificate: write("certificate.pem", certificate.pem()),
            key: write("key.pem", key.serialize_pem()),
        }
    }
}

/// A Python with a mail server in it; None, with a printed reason, where that cannot be had.
pub(crate) fn python(folder: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|dir| dir.join("uv")).find(|uv| uv.is_file());
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(UV_OF_XTASK));
    let Some(uv) = in_path.or(home).filter(|uv| uv.is_file()) else {
        eprintln!("skipped: uv is not installed");
        return None;
    };
    let venv = folder.join("python");
    let python = venv.join("bin/python");
    let run = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let is_made = run(Command::new(&uv).args(["venv", "--quiet"]).arg(&venv))
        && run(Command::new(&uv)
            .args(["pip", "install", "--quiet", AIOSMTPD])
            .arg("--python")
            .arg(&python));
    if !is_made {
        eprintln!("skipped: {AIOSMTPD} cannot be installed");
        return None;
    }
    Some(python)
}
