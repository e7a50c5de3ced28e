//! The machines of the grid, those that wait for their owner, and the page to approve one.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use campusgrid_core::snapshot::{NewcomerView, WorkerView};
use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::resource::Isolation;
use campusgrid_protocol::rest::workers::WorkerGpu;
use campusgrid_protocol::rules::Phase;
use campusgrid_protocol::task::LABEL_4;
use serde::Deserialize;

use super::form::SignedForm;
use super::machine::record::score;
use super::{Frame, PageError, Visitor};
use crate::web::auth::Login;
use crate::web::extract::{Named, Params};
use crate::web::workers::describe::told_phase;
use crate::web::workers::{
    adopt, gpus, may_be_of, may_change, release_worker, remove_worker, silent_ms,
};
use crate::web::{Site, words};

/// Labels of container images begin so.
const IMAGE: &str = "image:";

/// A machine with an owner.
struct WorkerCard {
    id: u64,
    name: String,
    owner: String,
    running: String,
    /// How it is, and its looks.
    state: String,
    state_class: &'static str,
    /// Why it gets no tasks, if it was set aside; empty otherwise.
    set_aside: String,
    /// Why it is not shared right now, for whoever may change it; empty otherwise.
    why: String,
    score: String,
    /// Whether whoever looks may remove and release it.
    may_change: bool,
    link: Option<LinkCard>,
}

/// What a connected machine has.
struct LinkCard {
    cpu_millis: u32,
    cpu_taken_millis: u32,
    cores: String,
    cores_free: String,
    ram_mib: u32,
    ram_taken_mib: u32,
    ram: String,
    ram_free: String,
    disk: String,
    disk_free: String,
    gpus: Vec<GpuRow>,
    gpus_free: usize,
    /// The level's name, for its looks.
    isolation: &'static str,
    isolation_words: &'static str,
    isolation_meaning: &'static str,
    notes: Vec<String>,
    features: Vec<String>,
    images: Vec<String>,
    busy_percent: u16,
    ram_used: String,
}

/// A GPU of a connected machine.
struct GpuRow {
    number: u16,
    model: String,
    /// Its memory, driver, and what it is busy with.
    facts: String,
    free: bool,
}

/// A machine that nobody has approved yet.
struct NewcomerCard {
    name: String,
    address: String,
    claimed_owner: Option<String>,
}

#[derive(Template, WebTemplate)]
#[template(path = "workers.html")]
pub(in crate::web) struct WorkersPage {
    frame: Frame,
    workers: Vec<WorkerCard>,
    newcomers: Vec<NewcomerCard>,
    notice: &'static str,
}

#[derive(Template, WebTemplate)]
#[template(path = "approve.html")]
struct ApprovePage {
    frame: Frame,
    code: String,
    problem: String,
    /// What the machine must show as well.
    fingerprint: String,
}

/// What was done just before, to say so.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct Done {
    #[serde(default)]
    done: String,
}

/// A code from a link.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct Code {
    #[serde(default)]
    code: String,
}

/// `GET /workers`.
pub(in crate::web) async fn workers(
    State(site): State<Site>,
    visitor: Visitor,
    Params(Done { done }): Params<Done>,
) -> WorkersPage {
    let frame = visitor.frame.clone().following_grid(&site);
    let snapshot = site.engine.snapshot();
    let notice = match done.as_str() {
        "approved" => "The machine is yours now and takes work.",
        "removed" => "The machine was removed; what ran there goes back to the queue.",
        "released" => "The machine takes tasks again.",
        _ => "",
    };
    let newcomers = snapshot.newcomers.iter().filter(|view| may_be_of(view, &visitor.login));
    let card = |view| WorkerCard::new(&site, view, &visitor.login);
    WorkersPage {
        frame,
        workers: snapshot.workers.iter().map(card).collect(),
        newcomers: newcomers.map(NewcomerCard::new).collect(),
        notice,
    }
}

/// `GET /workers/approve`.
pub(in crate::web) async fn approve_form(
    State(site): State<Site>,
    visitor: Visitor,
    Params(Code { code }): Params<Code>,
) -> impl IntoResponse {
    let fingerprint = site.fingerprint.grouped();
    ApprovePage { frame: visitor.frame, code, problem: String::new(), fingerprint }
}

/// `POST /workers/approve`.
pub(in crate::web) async fn approve(
    State(site): State<Site>,
    form: SignedForm,
) -> Result<Response, PageError> {
    let code = form.fields.text("code").to_owned();
    match adopt(&site, &form.visitor.login, &code).await {
        Ok(_) => Ok(Redirect::to("/workers?done=approved").into_response()),
        Err(error) if error.describe().0.is_server_error() => Err(error.into()),
        Err(error) => {
            let (status, _, problem) = error.describe();
            let fingerprint = site.fingerprint.grouped();
            let page = ApprovePage { frame: form.visitor.frame, code, problem, fingerprint };
            Ok((status, page).into_response())
        }
    }
}

/// `POST /workers/{id}/remove`.
pub(in crate::web) async fn remove(
    State(site): State<Site>,
    Named(worker): Named<WorkerId>,
    form: SignedForm,
) -> Result<Redirect, PageError> {
    remove_worker(&site, &form.visitor.login, worker).await?;
    Ok(Redirect::to("/workers?done=removed"))
}

/// `POST /workers/{id}/release`.
pub(in crate::web) async fn release(
    State(site): State<Site>,
    Named(worker): Named<WorkerId>,
    form: SignedForm,
) -> Result<Redirect, PageError> {
    release_worker(&site, &form.visitor.login, worker).await?;
    Ok(Redirect::to("/workers?done=released"))
}

impl WorkerCard {
    fn new(site: &Site, view: &WorkerView, login: &Login) -> Self {
        let (state, state_class) = state(site, view, login);
        Self {
            id: view.id.0,
            name: words::visible(&view.name),
            owner: view.owner_name.clone(),
            running: words::counted(view.running.into(), "task", "tasks"),
            state,
            state_class,
            set_aside: view.set_aside.as_deref().map(words::one_line).unwrap_or_default(),
            why: why(view, login),
            score: score(view.score_permille),
            may_change: may_change(view, login),
            link: LinkCard::new(view, login),
        }
    }
}

/// How a machine is, in words, and how that looks.
fn state(site: &Site, view: &WorkerView, login: &Login) -> (String, &'static str) {
    let Some(link) = &view.link else { return ("offline".to_owned(), "offline") };
    match silent_ms(site, link) {
        Some(silent_ms) => (format!("silent for {}", words::span(silent_ms)), "silent"),
        None if view.set_aside.is_some() => ("set aside".to_owned(), "silent"),
        None => match link
            .shares
            .as_ref()
            .map(|shares| told_phase(shares.phase, may_change(view, login)))
        {
            Some(Phase::Frozen) => ("standing still".to_owned(), "silent"),
            Some(Phase::Closed) => ("not shared".to_owned(), "offline"),
            Some(Phase::Open) | None => ("online".to_owned(), "online"),
        },
    }
}

/// Why it is not shared right now, in its own words, for whom that concerns.
fn why(view: &WorkerView, login: &Login) -> String {
    let shares = view.link.as_ref().and_then(|link| link.shares.as_ref());
    let shares = shares.filter(|shares| shares.phase != Phase::Open && may_change(view, login));
    shares.map(|shares| words::one_line(&shares.why)).unwrap_or_default()
}

impl LinkCard {
    fn new(view: &WorkerView, login: &Login) -> Option<Self> {
        let link = view.link.as_ref()?;
        let notes = if may_change(view, login) { &*link.isolation_notes } else { &[] };
        let (capacity, free) = (&link.capacity, &link.free);
        let (isolation, isolation_words, isolation_meaning) = describe(link.isolation);
        let told = most_precise(link.offer.labels()).filter(|label| label.as_str() != LABEL_4);
        let labels = told.map(|label| words::visible(label));
        let (images, features) = labels.partition(|label| label.starts_with(IMAGE));
        Some(Self {
            cpu_millis: capacity.cpu_millis,
            cpu_taken_millis: capacity.cpu_millis.saturating_sub(free.cpu_millis),
            cores: words::cores(capacity.cpu_millis),
            cores_free: words::cores(free.cpu_millis),
            ram_mib: capacity.ram_mib,
            ram_taken_mib: capacity.ram_mib.saturating_sub(free.ram_mib),
            ram: words::mib(capacity.ram_mib),
            ram_free: words::mib(free.ram_mib),
            disk: words::mib(capacity.disk_mib),
            disk_free: words::mib(free.disk_mib),
            gpus: gpus(link).iter().map(GpuRow::new).collect(),
            gpus_free: free.gpus.len(),
            isolation,
            isolation_words,
            isolation_meaning,
            notes: notes.iter().map(|note| words::visible(note)).collect(),
            features,
            images,
            busy_percent: link.load.cpu_busy_permille / 10,
            ram_used: words::mib(link.load.ram_used_mib),
        })
    }
}

impl NewcomerCard {
    fn new(view: &NewcomerView) -> Self {
        Self {
            name: words::visible(&view.name),
            address: words::visible(&view.address),
            claimed_owner: view.claimed_owner.as_deref().map(words::visible),
        }
    }
}

impl GpuRow {
    fn new(view: &WorkerGpu) -> Self {
        let memory = words::mib(view.gpu.memory_mib);
        let mut facts = vec![memory, format!("driver {}", words::visible(&view.gpu.driver))];
        if let Some(load) = &view.load {
            facts.push(format!("{} % busy", load.busy_permille / 10));
            facts.push(format!("{} in use", words::mib(load.memory_used_mib)));
            facts.push(format!("{} °C", load.temperature_c));
            facts.push(words::counted(load.processes.into(), "process", "processes"));
        }
        Self {
            number: view.number,
            model: words::visible(&view.gpu.model),
            facts: facts.join(" · "),
            free: view.free,
        }
    }
}

/// Labels without those that others say more precisely, as `R/4.2` does of `R` and of `R/4`.
fn most_precise(labels: &[String]) -> impl Iterator<Item = &String> {
    let says_more = |label: &str, other: &String| {
        other.strip_prefix(label).is_some_and(|rest| rest.starts_with(['/', '.']))
    };
    let is_said = move |label: &&String| {
        // In their order, those that begin alike follow each other.
        let after = labels.partition_point(|other| other <= *label);
        let alike = labels[after..].iter().take_while(|other| other.starts_with(label.as_str()));
        alike.into_iter().any(|other| says_more(label, other))
    };
    labels.iter().filter(move |label| label.starts_with(IMAGE) || !is_said(label))
}

/// A level's name, what machines of it have, and what that means.
fn describe(isolation: Isolation) -> (&'static str, &'static str, &'static str) {
    match isolation {
        Isolation::Full => (
            "full",
            "Sandboxed",
            "Jobs see nothing of the machine but the system's programs, and get no more of it than \
             they were given.",
        ),
        Isolation::Docker => (
            "docker",
            "Sandboxed in containers",
            "Jobs run in containers of Docker or Podman, and get no more of the machine than they \
             were given.",
        ),
        Isolation::Restricted => (
            "restricted",
            "Restricted sandbox",
            "Filters and limits, but no world of their own: only jobs that accept this run here.",
        ),
        Isolation::None => (
            "none",
            "No sandbox: own jobs only",
            "Jobs can do whatever the worker can, so only its owner's run here.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::most_precise;

    #[test]
    fn only_the_most_precise_label_of_a_tool_is_shown() {
        let labels = [
            "R",
            "R/4",
            "R/4.2",
            "g++",
            "g++/12",
            "gcc",
            "image:a",
            "image:a/b",
            "python3",
            "python3.11",
            "python3.9",
        ];
        let labels = labels.map(str::to_owned);
        let shown: Vec<&String> = most_precise(&labels).collect();
        let expected =
            ["R/4.2", "g++/12", "gcc", "image:a", "image:a/b", "python3.11", "python3.9"];
        assert_eq!(shown, expected);
    }
}
