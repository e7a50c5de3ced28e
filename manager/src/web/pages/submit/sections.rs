//! The parts of the form that are folded away until somebody needs them: which are open, and what
//! they show.

use campusgrid_protocol::id::UserId;
use campusgrid_protocol::input::INPUTS_MAX;
use campusgrid_protocol::rest::JobState;
use campusgrid_protocol::terms::AFTER_MAX;

use super::SubmitPage;
use super::offers::FEATURE_FIELD;
use super::read::terms::{AFTER_EACH, AFTER_JOB, AFTER_WHEN};
use crate::store::read::Viewer;
use crate::web::error::WebError;
use crate::web::jobs::{JobPart, read_list};
use crate::web::pages::form::Fields;
use crate::web::pages::form::files::FILES_FORM_MAX_BYTES;
use crate::web::{Site, words};

/// Jobs suggested for another to wait for.
const OWN_JOBS: u32 = 20;

/// How well a machine must confine a job at least: what the form sends, a name, and what it means.
pub(super) const LEVELS: [(&str, &str, &str); 4] = [
    (
        "docker",
        "A sandbox or a container (usual)",
        "The job sees nothing of the machine and of other jobs but the system's programs.",
    ),
    (
        "full",
        "A sandbox of the system's own",
        "Not in a container of Docker or Podman, which takes longer to start.",
    ),
    (
        "restricted",
        "A restricted one will do",
        "More machines fit, but jobs there are less apart: other programs can see that yours runs \
         and may read what it leaves in shared folders.",
    ),
    (
        "none",
        "None at all",
        "For machines of your own: without a sandbox, a machine runs only its owner's jobs.",
    ),
];

/// When another job has come so far: what the form sends, and its words.
pub(super) const WHENS: [(&str, &str); 4] = [
    ("ok", "has succeeded"),
    ("any", "is over, however"),
    ("failed", "has failed"),
    ("started", "has started"),
];

impl SubmitPage {
    /// Whether something in a part that is folded away is not as it was shown first, or wrong.
    fn uses(&self, names: &[&str]) -> bool {
        names.iter().any(|name| !self.value(name).is_empty() || !self.error(name).is_empty())
    }

    pub(super) fn uses_files(&self) -> bool {
        self.draft.is_some()
            || self.uses(&["files", "folder", "entry", "arguments", "outputs", "unpack"])
    }

    pub(super) fn uses_array(&self) -> bool {
        self.uses(&["array", "lines_file", "at_once", "tasks"])
    }

    pub(super) fn uses_start(&self) -> bool {
        self.uses(&["after", "priority", "deadline", "deadline_at_ms", "hold"])
            || self.afters.iter().any(|row| !row.job.is_empty())
    }

    pub(super) fn uses_end(&self) -> bool {
        let names = ["retries", "backoff_s", "warn_s", "notify_start", "notify_failure"];
        let more = ["notify_end", "notify_mail", "notify_browser", "webhook"];
        self.uses(&names)
            || self.uses(&more)
            || self.uses(&["notify", "notify.mail", "notify.webhook"])
    }

    pub(super) fn uses_sale(&self) -> bool {
        let names = ["max_price", "max_price_micros", "close_after_s", "deterministic", "verify"];
        self.value("market") != "formula"
            || self.uses(&names)
            || self.uses(&["checkpoint_s"])
            || !self.error("market").is_empty()
    }

    pub(super) fn uses_more(&self) -> bool {
        self.uses(&["uv_lock", "flags", "labels", "image", "shared_tmp"])
            || self.value("isolation") != "docker"
            || self.fields.named(FEATURE_FIELD).next().is_some()
            || !self.error("isolation").is_empty()
    }
}

/// What this manager takes, in words.
pub(super) struct LimitsView {
    /// Of one file.
    pub(super) file: String,
    pub(super) files: usize,
    /// Of a form without the page's script.
    pub(super) form: String,
}

impl LimitsView {
    pub(super) fn of(site: &Site) -> Self {
        Self {
            file: words::bytes(site.config.files.file_max_bytes),
            files: INPUTS_MAX,
            form: words::bytes(FILES_FORM_MAX_BYTES as u64),
        }
    }
}

/// Whether notices can come by mail, in words.
pub(super) struct MailView {
    pub(super) possible: bool,
    pub(super) words: String,
}

impl MailView {
    pub(super) async fn of(site: &Site, user: UserId) -> Result<Self, WebError> {
        let address = site.readers.read(move |reader| reader.address_of(user)).await?;
        let (possible, words) = match (site.config.notices.mail, address) {
            (false, _) => (false, "This grid sends no mail.".to_owned()),
            (true, None) => (false, "Your account has no address.".to_owned()),
            (true, Some(address)) => (true, format!("To {}.", words::visible(&address))),
        };
        Ok(Self { possible, words })
    }
}

/// A row about a job to wait for.
pub(super) struct AfterRow {
    pub(super) number: u32,
    pub(super) job: String,
    pub(super) when: String,
    pub(super) each: bool,
}

/// The rows that were filled in, and an empty one; two at least.
pub(super) fn after_rows(fields: &Fields) -> Vec<AfterRow> {
    let mut filled: Vec<u32> =
        fields.named(AFTER_JOB).filter_map(|row| row.parse().ok()).take(AFTER_MAX).collect();
    filled.sort_unstable();
    let text = |beginning: &str, row: u32| fields.text(&format!("{beginning}{row}")).to_owned();
    let rows = filled.into_iter().enumerate().map(|(place, row)| AfterRow {
        number: u32::try_from(place).expect("a few rows"),
        job: text(AFTER_JOB, row),
        when: text(AFTER_WHEN, row),
        each: !text(AFTER_EACH, row).is_empty(),
    });
    let mut rows: Vec<AfterRow> = rows.collect();
    let wanted = (rows.len() + 1).clamp(2, AFTER_MAX);
    for number in rows.len()..wanted {
        let number = u32::try_from(number).expect("a few rows");
        rows.push(AfterRow { number, job: String::new(), when: "ok".to_owned(), each: false });
    }
    rows
}

/// A job to suggest.
pub(super) struct OwnJob {
    pub(super) id: u64,
    pub(super) name: String,
}

/// The newest own jobs, drafts left out.
pub(super) async fn own_jobs(site: &Site, viewer: Viewer) -> Result<Vec<OwnJob>, WebError> {
    let page = read_list(site, viewer, JobPart::first(OWN_JOBS)).await?;
    let jobs = page.items.into_iter().filter(|job| job.state != JobState::Draft);
    Ok(jobs.map(|job| OwnJob { id: job.job, name: words::visible(&job.name) }).collect())
}
