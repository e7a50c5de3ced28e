//! Puts a job together: its program, its options, the files that come with it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use campusgrid_protocol::rest::{self, SOURCE_MAX_BYTES, WorkKind, market};
use campusgrid_protocol::terms::Notify;
use campusgrid_protocol::text::is_hidden;
use serde_json::json;

use super::directives;
use super::files::{Gathered, LocalFile, own_dest, parted};
use super::flags::{Event, Flags, SoldBy};
use crate::clock::now_ms;
use crate::error::CliError;
use crate::units::parse_moment;

/// Longest name of a job. Characters.
const NAME_MAX: usize = 64;

/// What the program of a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A script on this machine; `-` is standard input.
    Script(PathBuf),
    /// A command for `/bin/sh -c`.
    Command(String),
    /// One of the files that come with the job.
    Entry,
}

/// A job that can be submitted.
#[derive(Debug, Clone)]
pub struct Plan {
    pub body: rest::Submit,
    pub files: Vec<LocalFile>,
    /// To be unpacked by the manager, each into the folder that its path names.
    pub archives: Vec<LocalFile>,
    /// What was left out of folders, in words.
    pub left_out: Vec<String>,
    /// Lines of `lines_file`, if that is named and lies here.
    pub lines: Option<u32>,
}

impl Plan {
    /// Reads the script, its options and the list of files.
    ///
    /// # Errors
    ///
    /// `Usage`, `Read`.
    pub fn make(program: &Program, flags: Flags, arguments: Vec<String>) -> Result<Self, CliError> {
        let source = match program {
            Program::Script(path) => read_text(path)?,
            Program::Command(command) => command.clone(),
            Program::Entry => String::new(),
        };
        let flags = match program {
            Program::Script(_) => flags.over(directives::read(&source).map_err(CliError::Usage)?),
            Program::Command(_) | Program::Entry => flags,
        };
        if source.len() > SOURCE_MAX_BYTES {
            return Err(CliError::Usage(format!(
                "the script is larger than {} KiB: send it with --file, and name it with --entry",
                SOURCE_MAX_BYTES >> 10
            )));
        }
        let kind = kind(program, &source, &flags)?;
        let name = flags.name.clone().unwrap_or_else(|| own_name(program, &source, &flags));
        let mut body: rest::Submit = serde_json::from_value(json!({ "kind": kind, "name": name }))
            .expect("all other fields have defaults");
        body.source = source;
        if let Program::Entry = program {
            body.entry.clone_from(&flags.entry);
        }
        body.arguments = arguments;
        take_terms(&mut body, &flags)?;
        take_packages(&mut body, &flags)?;
        Self::with_files(body, &flags)
    }

    fn with_files(mut body: rest::Submit, flags: &Flags) -> Result<Self, CliError> {
        let mut gathered = Gathered::default();
        for text in &flags.files {
            gathered.add(text)?;
        }
        let mut lines = None;
        if let Some(text) = &flags.lines {
            let (source, dest) = parted(text);
            let dest = dest.map_or_else(|| own_dest(&source), str::to_owned);
            // It may be among the files already, under this very name.
            if source.exists() || !gathered.has(&dest) {
                lines = Some(count_lines(&source)?);
                gathered.add(text)?;
            }
            body.lines_file = Some(dest);
        }
        let mut archives = Vec::new();
        for text in &flags.archives {
            archives.push(archive(text)?);
        }
        let left_out = std::mem::take(&mut gathered.left_out);
        let files = gathered.into_files();
        body.draft = !files.is_empty() || !archives.is_empty();
        if body.entry.is_some() && !body.draft {
            return Err(CliError::Usage(
                "--entry names a file that comes with the job: add it with --file".to_owned(),
            ));
        }
        Ok(Self { body, files, archives, left_out, lines })
    }

    /// The body of a question for its price: its files do not matter, but for how many lines one has.
    pub fn quoted(&self) -> rest::Submit {
        let mut body = self.body.clone();
        if let Some(lines) = self.lines.filter(|lines| *lines > 0) {
            body.lines_file = None;
            body.array = Some(format!("1-{lines}"));
        }
        body
    }
}

fn take_terms(body: &mut rest::Submit, flags: &Flags) -> Result<(), CliError> {
    let set = |field: &mut u32, value: Option<u32>| *field = value.unwrap_or(*field);
    set(&mut body.cores, flags.cpus);
    set(&mut body.ram_mib, flags.ram);
    set(&mut body.disk_mib, flags.disk);
    set(&mut body.time_limit_s, flags.time);
    set(&mut body.backoff_s, flags.backoff);
    set(&mut body.warn_s, flags.warn);
    if let Some(gpus) = flags.gpus {
        (body.gpus, body.gpu_memory_mib) = (gpus.count, gpus.memory_mib);
    }
    body.array.clone_from(&flags.array);
    body.at_once = flags.at_once;
    body.outputs.clone_from(&flags.outputs);
    body.after = flags.edges();
    if flags.each && body.after.is_empty() {
        return Err(CliError::Usage("--each is for --after and its kind".to_owned()));
    }
    body.retries = flags.retries.unwrap_or(0);
    let deadline = flags.deadline.as_deref().map(|text| parse_moment(text, now_ms()));
    body.deadline_at_ms =
        deadline.transpose().map_err(|what| CliError::Usage(format!("--deadline: {what}")))?;
    set(&mut body.checkpoint_s, flags.checkpoint_every);
    body.market = flags.market.map(|by| match by {
        SoldBy::Hand => market::SoldBy::Hand,
        SoldBy::Rule => market::SoldBy::Rule,
    });
    (body.max_price_micros, body.close_after_s) = (flags.max_price, flags.close_after);
    (body.deterministic, body.verify) = (flags.deterministic, flags.verify);
    body.priority = flags.priority.unwrap_or(0);
    body.hold = flags.hold;
    body.notify = notify(flags);
    body.labels.clone_from(&flags.labels);
    body.image.clone_from(&flags.image);
    body.isolation = flags.isolation.map(Into::into);
    body.shared_tmp = flags.shared_tmp;
    Ok(())
}

fn notify(flags: &Flags) -> Option<Notify> {
    let is_wanted = !flags.notify.is_empty() || flags.mail || flags.webhook.is_some();
    let has = |event| flags.notify.contains(&event);
    is_wanted.then(|| Notify {
        start: has(Event::Start),
        end: has(Event::End) || flags.notify.is_empty(),
        failure: has(Event::Failure),
        mail: flags.mail || flags.webhook.is_none(),
        webhook: flags.webhook.clone(),
    })
}

fn take_packages(body: &mut rest::Submit, flags: &Flags) -> Result<(), CliError> {
    body.flags.clone_from(&flags.compiler_flags);
    body.requirements.clone_from(&flags.packages);
    let Some(path) = &flags.requirements else { return Ok(()) };
    let text = read_text(path)?;
    if path.extension().is_some_and(|ending| ending == "lock") {
        body.uv_lock = Some(text);
    } else {
        body.requirements = text.lines().map(str::to_owned).collect();
    }
    Ok(())
}

/// Which language, by what is said, by the ending, by the `#!` line.
fn kind(program: &Program, source: &str, flags: &Flags) -> Result<WorkKind, CliError> {
    let said =
        [(flags.python, WorkKind::Python), (flags.c, WorkKind::C), (flags.shell, WorkKind::Shell)];
    if let Some((_, kind)) = said.into_iter().find(|(is_said, _)| *is_said) {
        return Ok(kind);
    }
    let path = match program {
        Program::Command(_) => return Ok(WorkKind::Shell),
        Program::Script(path) => path.clone(),
        Program::Entry => flags.entry.clone().unwrap_or_default().into(),
    };
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let by_ending = match ending {
        "py" => Some(WorkKind::Python),
        "c" => Some(WorkKind::C),
        "sh" | "bash" => Some(WorkKind::Shell),
        _ => None,
    };
    by_ending.or_else(|| by_first_line(source)).ok_or_else(|| {
        CliError::Usage(format!(
            "cannot tell which language {} is in: say --python, --c or --shell",
            path.display()
        ))
    })
}

fn by_first_line(source: &str) -> Option<WorkKind> {
    let line = source.lines().next()?.strip_prefix("#!")?;
    let mut words = line.split_whitespace().map(|word| word.rsplit('/').next().unwrap_or(word));
    let program = words.next().filter(|word| *word != "env").or_else(|| words.next())?;
    if program.starts_with("python") {
        Some(WorkKind::Python)
    } else if ["sh", "bash", "dash"].contains(&program) {
        Some(WorkKind::Shell)
    } else {
        None
    }
}

fn own_name(program: &Program, source: &str, flags: &Flags) -> String {
    let text = match program {
        Program::Script(path) if path == Path::new("-") => "standard input".to_owned(),
        Program::Script(path) => {
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        }
        Program::Command(_) => source.lines().next().unwrap_or_default().to_owned(),
        Program::Entry => flags.entry.clone().unwrap_or_default(),
    };
    let shown = |c: char| if is_hidden(c) { ' ' } else { c };
    let name: String = text.trim().chars().take(NAME_MAX).map(shown).collect();
    if name.trim().is_empty() { "untitled".to_owned() } else { name }
}

/// Reads `SRC[:DEST]` of an archive, whose path for the manager then tells the folder to unpack it into.
///
/// # Errors
///
/// `Usage`, `Read`.
pub fn archive(text: &str) -> Result<LocalFile, CliError> {
    let (local, dest) = parted(text);
    let read = |source| CliError::Read { path: local.clone(), source };
    let found = fs::metadata(&local).map_err(read)?;
    let name = local.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let endings = [".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst"];
    if !found.is_file() || !endings.iter().any(|ending| name.ends_with(ending)) {
        let endings = endings.join(", ");
        return Err(CliError::Usage(format!("{} is no archive: {endings}", local.display())));
    }
    let folder = dest.unwrap_or_default().trim_matches('/');
    let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
    Ok(LocalFile { path, size_bytes: found.len(), executable: false, local })
}

/// As many as workers count: a last line may end without its end.
fn count_lines(path: &Path) -> Result<u32, CliError> {
    let failed = |source| CliError::Read { path: path.to_owned(), source };
    let mut file = fs::File::open(path).map_err(failed)?;
    let (mut lines, mut last, mut buffer) = (0_usize, b'\n', vec![0; 64 << 10]);
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        let Some(&end) = buffer[..read].last() else { break };
        lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count();
        last = end;
    }
    let lines = lines + usize::from(last != b'\n');
    u32::try_from(lines).map_err(|_| CliError::Usage("it has too many lines".to_owned()))
}

fn read_text(path: &Path) -> Result<String, CliError> {
    let failed = |source| CliError::Read { path: path.to_owned(), source };
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
        return Ok(text);
    }
    fs::read_to_string(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use campusgrid_protocol::rest::WorkKind;
    use campusgrid_protocol::rest::market::SoldBy;

    use super::{Plan, Program};
    use crate::error::CliError;
    use crate::job::flags::{Event, Flags};

    fn script(name: &str, text: &str, flags: Flags) -> Result<Plan, CliError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        Plan::make(&Program::Script(path), flags, Vec::new())
    }

    #[test]
    fn the_language_is_told_by_what_is_there() {
        let kind = |name, text| script(name, text, Flags::default()).map(|plan| plan.body.kind);
        assert_eq!(kind("a.py", "").unwrap(), WorkKind::Python);
        assert_eq!(kind("a.c", "").unwrap(), WorkKind::C);
        assert_eq!(kind("a", "#!/bin/bash\n").unwrap(), WorkKind::Shell);
        assert_eq!(kind("a", "#!/usr/bin/env python3\n").unwrap(), WorkKind::Python);
        assert!(kind("a.R", "#!/usr/bin/Rscript\n").is_err());
        let said = Flags { shell: true, ..Flags::default() };
        assert_eq!(script("a.py", "", said).unwrap().body.kind, WorkKind::Shell);
    }

    #[test]
    fn options_reach_the_body() {
        let flags = Flags { notify: vec![Event::Failure], cpus: Some(3), ..Flags::default() };
        let body = script("a.py", "#CG --ram 1G --cpus 9\n", flags).unwrap().body;
        assert_eq!((body.cores, body.ram_mib, body.disk_mib), (3, 1024, 256));
        assert_eq!(body.name.as_deref(), Some("a.py"));
        let notify = body.notify.unwrap();
        assert!(notify.failure && notify.mail && !notify.end);
        assert!(!body.draft);
        let command = Program::Command("echo\u{7} hello\nexit".to_owned());
        let body = Plan::make(&command, Flags::default(), vec!["x".to_owned()]).unwrap().body;
        assert_eq!((body.name.as_deref(), body.arguments), (Some("echo  hello"), vec!["x".into()]));
    }

    #[test]
    fn a_job_is_sold_as_its_script_says() {
        let text = "#CG --market rule --max-price 12.5 --close-after 10m --checkpoint-every 60\n";
        let body = script("a.py", text, Flags::default()).unwrap().body;
        assert_eq!((body.market, body.max_price_micros), (Some(SoldBy::Rule), Some(12_500_000)));
        assert_eq!((body.close_after_s, body.checkpoint_s), (Some(600), 60));
        let body = script("a.py", "#CG --verify\n", Flags::default()).unwrap().body;
        assert_eq!((body.market, body.verify, body.checkpoint_s), (None, true, 300));
    }

    #[test]
    fn a_file_of_lines_comes_along_and_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let lines = folder.path().join("l.txt");
        fs::write(&lines, "a\nb\nc").unwrap();
        let flags = Flags { lines: Some(lines.to_str().unwrap().to_owned()), ..Flags::default() };
        let plan = script("a.py", "", flags).unwrap();
        assert_eq!((plan.lines, plan.body.lines_file.as_deref()), (Some(3), Some("l.txt")));
        assert!(plan.body.draft && plan.files.len() == 1);
        let quoted = plan.quoted();
        assert_eq!((quoted.array.as_deref(), quoted.lines_file), (Some("1-3"), None));
    }

    #[test]
    fn an_entry_needs_a_file() {
        let flags = Flags { entry: Some("main.py".to_owned()), ..Flags::default() };
        assert!(Plan::make(&Program::Entry, flags, Vec::new()).is_err());
    }
}
