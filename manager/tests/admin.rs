//! The local socket and its commands: what they do, and what they take from nobody.

#![expect(clippy::print_stderr, reason = "what the processes print belongs to the test's output")]
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod grid;

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use campusgrid_identity::machine::{MachineKey, Trust};
use campusgrid_identity::token::JoinToken;
use campusgrid_protocol::message::EnrolAnswer;
use grid::line::{ask, by, enrol};
use grid::{Grid, User};
use serde_json::json;

const MANAGER: &str = env!("CARGO_BIN_EXE_campusgrid-manager");

/// Runs a command of the manager's on the grid's data directory.
fn run(grid: &Grid, arguments: &[&str]) -> Output {
    run_on(&grid.manager_dir(), arguments, "")
}

fn run_on(data_dir: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(MANAGER);
    command.args(arguments).arg("--data-dir").arg(data_dir).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that reads nothing has gone already.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

#[track_caller]
fn fine(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {words}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap().trim_end().to_owned()
}

#[track_caller]
fn refused(output: &Output, code: i32, words: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(told.contains(words), "no {words:?} in {told}");
}

fn socket(grid: &Grid) -> PathBuf {
    grid.manager_dir().join("manager.sock")
}

fn log_in(grid: &Grid, password: &str) -> u16 {
    let nobody = User { name: String::new(), token: String::new() };
    grid.post(&nobody, "login", &json!({ "name": "ada", "password": password })).0
}

#[test]
fn a_token_joins_the_users_machine_once() {
    let grid = Grid::start("admin-token");
    let ada = grid.register("ada");
    let made = run(&grid, &["token", "--user", "ADA"]);
    let token = fine(&made);
    let line = format!("campusgrid-worker -m 127.0.0.1 -p {} --token {token}", grid.port);
    assert!(String::from_utf8_lossy(&made.stderr).contains(&line), "{made:?}");
    let token: JoinToken = token.parse().unwrap();
    assert_eq!(token.fingerprint, grid.fingerprint(&ada));
    let join = |name| {
        let key = MachineKey::make().unwrap();
        ask(grid.port, Trust::Pinned(token.fingerprint), &enrol(&key, name, by(&token)))
    };
    let EnrolAnswer::Enrolled { owner, .. } = join("first") else { panic!("not let in") };
    assert_eq!(owner, "ada");
    assert!(matches!(join("second"), EnrolAnswer::Refused { .. }));
    refused(&run(&grid, &["token", "--user", "eve"]), 1, "nobody is registered as \"eve\"");
    refused(&run(&grid, &["token", "--user", "ada", "--uses", "0"]), 1, "uses must be 1 to");
    refused(&run(&grid, &["token", "--user", "ada", "--hours", "9999"]), 1, "hours must be 1 to");
    refused(&run(&grid, &["token"]), 64, "--user");
}

#[test]
fn roles_and_passwords_are_set_and_logins_closed() {
    let grid = Grid::start("admin-roles");
    let (ada, bob) = (grid.register("ada"), grid.register("bob"));
    refused(&run(&grid, &["role", "ada", "member"]), 1, "last operator");
    fine(&run(&grid, &["role", "bob", "operator"]));
    fine(&run(&grid, &["role", "ada", "member"]));
    refused(&run(&grid, &["role", "bob", "king"]), 64, "operator");
    // As `token` names a user, and not twice.
    fine(&run(&grid, &["role", "--user", "bob", "operator"]));
    refused(&run(&grid, &["role", "ada", "operator", "--user", "bob"]), 64, "--user");
    refused(&run(&grid, &["password"]), 64, "NAME");
    assert_eq!(grid.get(&bob, "me").0, 200);

    let named = |input: &str| run_on(&grid.manager_dir(), &["password", "--user", "ada"], input);
    refused(&named("short\n"), 1, "8 to");
    let set = |input: &str| run_on(&grid.manager_dir(), &["password", "ada"], input);
    refused(&set("short\n"), 1, "8 to");
    fine(&set("a new password, typed\n"));
    assert_eq!(grid.get(&ada, "me").0, 401, "the old login is closed");
    assert_eq!(log_in(&grid, "correct horse battery"), 401);
    assert_eq!(log_in(&grid, "a new password, typed"), 200);
}

#[test]
fn an_invitation_lets_somebody_register() {
    let settings = [("CAMPUSGRID_DASHBOARD_REGISTRATION", "invitation")];
    let grid = Grid::start_with("admin-invite", &settings);
    refused(&run(&grid, &["invite"]), 1, "nobody is an operator yet");
    grid.register("ada"); // The first, on the manager's own machine.
    let made = run(&grid, &["invite"]);
    let invitation = fine(&made);
    let link = format!("http://127.0.0.1:{}/register?invitation={invitation}", grid.dashboard);
    assert!(String::from_utf8_lossy(&made.stderr).contains(&link), "{made:?}");
    let nobody = User { name: String::new(), token: String::new() };
    let mut body = json!({ "name": "bob", "password": "correct horse battery" });
    assert_eq!(grid.post(&nobody, "register", &body).0, 403);
    body["invitation"] = json!(invitation);
    assert_eq!(grid.post(&nobody, "register", &body).0, 201);
    body["name"] = json!("carol");
    assert_eq!(grid.post(&nobody, "register", &body).0, 404, "it was good once");
}

#[test]
fn an_invitation_that_nobody_could_use_is_not_made() {
    let settings = [("CAMPUSGRID_DASHBOARD_REGISTRATION", "closed")];
    let grid = Grid::start_with("admin-closed", &settings);
    let ada = grid.register("ada"); // The first is let in nevertheless.
    refused(&run(&grid, &["invite"]), 1, "registration is closed");
    let (status, answer) = grid.post(&ada, "invitations", &json!({ "uses": 1, "hours": 1 }));
    assert_eq!((status, &answer["error"]["code"]), (403, &json!("registration_closed")));
}

/// Starts a manager that is to end by itself.
fn start(data_dir: &Path, more: &[&str]) -> Output {
    let addresses = ["--host", "127.0.0.1", "--dashboard-host", "127.0.0.1"];
    let ports = if more.contains(&"--port") { vec![] } else { vec!["--port", "0"] };
    let all = [&addresses, ports.as_slice(), &["--dashboard-port", "0"], more].concat();
    run_on(data_dir, &all, "")
}

#[test]
fn a_grid_of_which_a_part_is_missing_does_not_begin_anew_unasked() {
    let mut grid = Grid::start("admin-parts");
    let ada = grid.register("ada");
    drop(grid::fake::FakeWorker::join_for(&grid, &ada, grid::fake::introduction(1)));
    grid.stop_manager();
    let data_dir = grid.manager_dir();
    refused(&start(&data_dir, &["--new"]), 1, "holds a whole grid");
    std::fs::rename(data_dir.join("tls"), data_dir.join("aside")).unwrap();
    refused(&start(&data_dir, &[]), 1, "or start with --new to make another");
    assert!(!data_dir.join("tls").exists(), "another was made nevertheless");
    std::fs::rename(data_dir.join("aside"), data_dir.join("tls")).unwrap();
    std::fs::remove_file(data_dir.join("campusgrid.sqlite")).unwrap();
    refused(&start(&data_dir, &[]), 1, "or start with --new to begin anew");
    assert!(!data_dir.join("campusgrid.sqlite").exists(), "another was made nevertheless");
    refused(&run_on(&data_dir, &["backup", "/nowhere/at-all"], ""), 1, "holds no database");
    refused(&run_on(&data_dir, &["books", "--new"], ""), 64, "--new");
}

#[test]
fn a_start_that_cannot_be_leaves_nothing_behind() {
    let grid = Grid::start("admin-vain");
    let data_dir = grid.manager_dir().with_file_name("vain");
    let taken = grid.port.to_string();
    refused(&start(&data_dir, &["--port", &taken]), 1, "failed to listen on");
    assert!(!data_dir.exists());
    let mut command = Command::new(MANAGER);
    command.args(["--port", "0", "--dashboard-port", "0", "--data-dir"]).arg(&data_dir);
    command.current_dir("/").env("CAMPUSGRID_DASHBOARD_TLS", "files");
    command.env("CAMPUSGRID_DASHBOARD_TLS_CERTIFICATE", "/nowhere/c.pem");
    command.env("CAMPUSGRID_DASHBOARD_TLS_KEY", "/nowhere/k.pem");
    refused(&command.output().unwrap(), 64, "dashboard.tls_certificate cannot be used");
    assert!(!data_dir.exists());
}

#[test]
fn without_a_manager_there_is_nobody_to_ask() {
    let mut grid = Grid::start("admin-none");
    grid.register("ada");
    fine(&run(&grid, &["books"]));
    grid.stop_manager();
    assert!(!socket(&grid).exists());
    refused(&run(&grid, &["books"]), 1, "no manager runs on");
    // A socket that a killed manager has left is in nobody's way.
    grid.start_manager();
    grid.kill_manager();
    assert!(socket(&grid).exists());
    refused(&run(&grid, &["books"]), 1, "no manager runs on");
    grid.start_manager();
    fine(&run(&grid, &["books"]));
    // Two managers on one directory would each believe to be the only writer.
    refused(&run(&grid, &["--port", "0", "--dashboard-port", "0"]), 1, "another manager");
}

#[test]
fn what_is_in_the_sockets_place_is_not_removed() {
    let mut grid = Grid::start("admin-way");
    grid.stop_manager();
    std::fs::write(socket(&grid), "a letter").unwrap();
    let start = ["--port", "0", "--dashboard-port", "0"];
    refused(&run(&grid, &start), 1, "is in the way and no socket");
    assert_eq!(std::fs::read(socket(&grid)).unwrap(), b"a letter");
}

/// Sends bytes; yields what is answered until the end.
fn say(grid: &Grid, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket(grid)).unwrap();
    drop(stream.write_all(bytes)); // What is too long is not read to its end.
    drop(stream.shutdown(std::net::Shutdown::Write));
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    answer
}

#[test]
fn nonsense_is_refused_in_words_and_others_are_answered() {
    let grid = Grid::start("admin-nonsense");
    grid.register("ada");
    for (bytes, words) in [
        (b"".as_slice(), "one line"),
        (b"hello\n", "no order"),
        (b"{\"order\":\"books\"}", "one line"),
        (b"{\"order\":\"books\",\"now\":1}\n", "no order"),
        (b"{\"order\":\"drop\"}\n", "no order"),
        (b"{\"order\":\"password\",\"user\":\"ada\",\"password\":7}\n", "no order"),
        (b"\xff\xfe\n", "no order"),
        (&[b'x'; 1 << 20], "one line"),
    ] {
        let answer = say(&grid, bytes);
        // A client that is closed upon may not have read the answer.
        assert!(answer.contains(words) || bytes.len() > 1 << 16, "{answer}");
        assert!(!answer.contains("done"), "{answer}");
    }
    // Those that say nothing are sent away in time; nobody waits longer for them.
    let silent: Vec<UnixStream> =
        (0..8).map(|_| UnixStream::connect(socket(&grid)).unwrap()).collect();
    assert!(say(&grid, b"{\"order\":\"books\"}\n").contains("the books balance"));
    drop(silent);
}

#[test]
fn only_the_managers_own_user_is_heard() {
    let grid = Grid::start("admin-uid");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert!(std::fs::metadata(socket(&grid)).unwrap().file_type().is_socket());
    assert_eq!(mode(&socket(&grid)), 0o600);
    assert_eq!(mode(&grid.manager_dir()), 0o700);
    if !nix::unistd::geteuid().is_root() || Command::new("perl").arg("-v").output().is_err() {
        eprintln!("skipped the rest: only the superuser can become another user, with perl");
        return;
    }
    // Even where the modes were opened by hand, the kernel says who is there.
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(&socket(&grid), 0o666);
    for path in [grid.manager_dir().as_path(), grid.manager_dir().parent().unwrap()] {
        open(path, 0o755);
    }
    let program = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die $!; \
                   print $s '{\"order\":\"books\"}', \"\\n\"; $s->flush; print <$s>;";
    let perl = |uid: u32| {
        let mut command = Command::new("perl");
        command.args(["-e", program]).arg(socket(&grid)).uid(uid).current_dir("/");
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert_eq!(perl(65534), "");
    assert!(perl(0).contains("the books balance"));
}

#[test]
fn a_data_directory_may_have_a_long_name() {
    let mut grid = Grid::start("admin-long");
    grid.stop_manager();
    let long = grid.manager_dir().join("x".repeat(120));
    let mut command = Command::new(MANAGER);
    command.args(["--host", "127.0.0.1", "--port", "0", "--dashboard-host", "127.0.0.1"]);
    command.args(["--dashboard-port", "0"]).arg("--data-dir").arg(&long).current_dir("/");
    let mut manager = command.spawn().unwrap();
    // It takes a moment until it listens.
    let mut answer = run_on(&long, &["books"], "");
    while !answer.status.success() && manager.try_wait().unwrap().is_none() {
        answer = run_on(&long, &["books"], "");
    }
    manager.kill().unwrap();
    manager.wait().unwrap();
    fine(&answer);
}
