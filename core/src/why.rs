//! Why a task waits, in words with a next step.

use std::collections::BTreeMap;
use std::sync::Arc;

use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::resource::{Isolation, Needs};

use crate::offer::Offer;
use crate::sharing::{Bar, Host, confines};
use crate::snapshot::Shape;
use crate::worker::Free;

/// Labels like a missing one that are named.
const SIMILAR_MAX: usize = 3;

/// The connected machines as the words see them, gathered once for all shapes.
pub(crate) struct Sites<'a> {
    all: Vec<Site<'a>>,
    /// Where the labels are to be had that shapes require.
    wanted: BTreeMap<Arc<[String]>, Wanted>,
    most_cpu_millis: u32,
    most_ram_mib: u32,
    most_disk_mib: u32,
    most_gpus: usize,
}

/// Where all of some labels are to be had.
struct Wanted {
    /// By the kind of offer.
    offered: Vec<bool>,
    /// In words, why nowhere.
    lack: Option<String>,
}

pub(crate) struct Site<'a> {
    pub(crate) host: Host<'a>,
    pub(crate) name: &'a str,
    pub(crate) set_aside: bool,
    pub(crate) isolation: Isolation,
    /// Its place in the kinds of offers.
    pub(crate) kind: usize,
    pub(crate) whole: Free,
    /// Why its owner does not share it right now, if they do not: in the machine's words, which say what
    /// its owner does, so that nobody else reads them.
    pub(crate) shut: Option<&'a str>,
    /// What is free from how many milliseconds on, if all that runs there takes as long as it may.
    /// Empty for a machine that takes nothing right now.
    pub(crate) rooms: Vec<(u64, Free)>,
    /// For how many milliseconds it gets nothing of a shape, since it has just given one back.
    pub(crate) pauses: BTreeMap<Shape, u64>,
}

/// When a machine could run a task, in milliseconds, and whether it only waits for its pause to end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wait {
    ms: u64,
    is_pause: bool,
}

impl Site<'_> {
    fn wait(&self, shape: &Shape) -> Option<Wait> {
        let room_in_ms = self.rooms.iter().find(|(_, free)| free.fits(&shape.needs))?.0;
        let pause_ms = self.pauses.get(shape).copied().unwrap_or(0);
        Some(Wait { ms: room_in_ms.max(pause_ms), is_pause: pause_ms > room_in_ms })
    }

    /// Why it is not shared right now, if whoever submitted the shape may know.
    fn shut_for(&self, shape: &Shape) -> Option<&str> {
        self.shut.filter(|_| self.host.owner() == shape.owner)
    }
}

impl<'a> Sites<'a> {
    /// `all` are the connected machines, `kinds` what they offer and how many offer just that;
    /// `shapes` are those that [`Sites::why`] will be asked about.
    pub(crate) fn new<'s>(
        all: Vec<Site<'a>>,
        kinds: Vec<(Arc<Offer>, u32)>,
        shapes: impl Iterator<Item = &'s Shape>,
    ) -> Self {
        let most =
            |of: &dyn Fn(&Free) -> u32| all.iter().map(|site| of(&site.whole)).max().unwrap_or(0);
        let mut wanted = BTreeMap::new();
        for Shape { labels, .. } in shapes {
            if !wanted.contains_key(labels) {
                wanted.insert(Arc::clone(labels), Wanted::new(labels, &kinds));
            }
        }
        Self {
            most_cpu_millis: most(&|whole| whole.cpu_millis),
            most_ram_mib: most(&|whole| whole.ram_mib),
            most_disk_mib: most(&|whole| whole.disk_mib),
            most_gpus: all.iter().map(|site| site.whole.gpus.len()).max().unwrap_or(0),
            all,
            wanted,
        }
    }

    /// Why tasks of a shape wait, of the submitter of this name.
    pub(crate) fn why(&self, shape: &Shape, submitter: &str) -> String {
        let needs = &shape.needs;
        if let Some(only) = shape.only {
            return self.why_awarded(only, shape);
        }
        if self.all.is_empty() {
            return "no worker is connected; it starts as soon as one comes".to_owned();
        }
        let wanted = self.wanted.get(&shape.labels).expect("all shapes were told of before");
        if let Some(lack) = self.lack(needs).or_else(|| wanted.lack.clone()) {
            return lack;
        }
        let fitting = || self.all.iter().filter(|site| site.whole.fits(needs));
        if fitting().next().is_none() {
            return nothing_together(needs);
        }
        let offering = || fitting().filter(|site| wanted.offered[site.kind]);
        let labels = shape.labels.join(" and ");
        if offering().next().is_none() {
            return format!("no worker that offers {labels} is large enough; ask for less");
        }
        let owner_of = |site: &Site| site.host.owner();
        let confining: Vec<&Site> =
            offering().filter(|site| confines(site.isolation, owner_of(site), shape)).collect();
        if confining.is_empty() {
            let may_run =
                |site: &&Site| site.isolation > Isolation::None || owner_of(site) == shape.owner;
            let best = offering().filter(may_run).map(|site| site.isolation).max();
            return no_isolation(shape.isolation, best, &labels);
        }
        let barred = |site: &&&Site| site.host.bar(shape, || submitter).is_some();
        let able: Vec<&Site> = confining.iter().filter(|site| !barred(site)).copied().collect();
        if able.is_empty() {
            let bars = confining.iter().filter_map(|site| site.host.bar(shape, || submitter));
            return all_barred(bars.collect());
        }
        let (aside, able): (Vec<&Site>, Vec<&Site>) =
            able.into_iter().partition(|site| site.set_aside);
        match (able.len(), aside.len()) {
            (0, 1) => "1 worker can run it, and it is set aside; it starts when its owner or an \
                       operator releases it"
                .to_owned(),
            (0, count) => format!(
                "{count} workers can run it, and all are set aside; it starts when an owner or an \
                 operator releases one"
            ),
            (_, 0) => busy(&able, shape),
            (_, 1) => format!("{}; 1 more is set aside", busy(&able, shape)),
            (_, count) => format!("{}; {count} more are set aside", busy(&able, shape)),
        }
    }

    /// Why a task waits for the machine whose bid was accepted.
    fn why_awarded(&self, only: WorkerId, shape: &Shape) -> String {
        let Some(site) = self.all.iter().find(|site| site.host.id() == only) else {
            return format!("worker {only}, whose bid was accepted, is not connected");
        };
        let name = site.name;
        if site.set_aside {
            return format!("{name}, whose bid was accepted, is set aside");
        }
        if site.shut.is_some() {
            return format!("{name}, whose bid was accepted, is not shared right now");
        }
        match site.wait(shape) {
            Some(Wait { ms: 0, .. }) => "it is its turn; it starts in a moment".to_owned(),
            Some(Wait { ms, .. }) => format!(
                "{name}, whose bid was accepted, has room in {} at the latest",
                duration(ms)
            ),
            None => format!("{name}, whose bid was accepted, cannot run it as things are"),
        }
    }

    /// What no connected machine has enough of.
    fn lack(&self, needs: &Needs) -> Option<String> {
        if self.most_cpu_millis < needs.cpu_millis {
            let (need, most) = (needs.cpu_millis / 1000, self.most_cpu_millis / 1000);
            return Some(format!("no worker has {need} cores; the largest has {most}"));
        }
        if self.most_ram_mib < needs.ram_mib {
            let (need, most) = (needs.ram_mib, self.most_ram_mib);
            return Some(format!(
                "no worker has {need} MiB of RAM to share; the largest has {most} MiB"
            ));
        }
        if self.most_disk_mib < needs.disk_mib {
            let (need, most) = (needs.disk_mib, self.most_disk_mib);
            return Some(format!(
                "no worker has {need} MiB of disk to share; the largest has {most} MiB"
            ));
        }
        let need = needs.gpus;
        (self.most_gpus < need.into()).then(|| match self.most_gpus {
            0 => format!("needs {need} GPU(s), and no connected worker has one"),
            most => format!("no worker has {need} GPUs; the most that one has is {most}"),
        })
    }
}

impl Wanted {
    fn new(labels: &[String], kinds: &[(Arc<Offer>, u32)]) -> Self {
        let offered: Vec<bool> = kinds.iter().map(|(offer, _)| offer.has_all(labels)).collect();
        let lack = (!offered.contains(&true)).then(|| lack_of(labels, kinds));
        Self { offered, lack }
    }
}

/// Why no machine offers all of these.
fn lack_of(labels: &[String], kinds: &[(Arc<Offer>, u32)]) -> String {
    let offered = |label: &str| kinds.iter().any(|(offer, _)| offer.has(label));
    let Some(missing) = labels.iter().find(|label| !offered(label)) else {
        return format!("no single worker offers {} together", labels.join(" and "));
    };
    match missing.strip_prefix("image:") {
        Some("default") => {
            "needs the default image, which no connected worker has; an owner makes \
             it with: campusgrid-worker build-image"
                .to_owned()
        }
        Some(image) => format!(
            "needs image {image}, which no connected worker has or may fetch; ask an owner to allow \
             it"
        ),
        None => format!("no connected worker offers {missing}; {}", similar(missing, kinds)),
    }
}

/// What is offered that begins with the same word, so that `python3.13` leads to `python3.11`.
fn similar(missing: &str, kinds: &[(Arc<Offer>, u32)]) -> String {
    let mut workers = BTreeMap::<&str, u32>::new();
    for (offer, count) in kinds {
        let labels = offer.labels().iter();
        for label in labels.filter(|label| word(label).eq_ignore_ascii_case(word(missing))) {
            *workers.entry(label).or_default() += count;
        }
    }
    let mut most: Vec<(&str, u32)> = workers.into_iter().collect();
    most.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    if most.is_empty() {
        return "it starts as soon as one that does connects".to_owned();
    }
    let words: Vec<String> = most
        .iter()
        .take(SIMILAR_MAX)
        .map(|&(label, count)| match count {
            1 => format!("1 worker offers {label}"),
            count => format!("{count} workers offer {label}"),
        })
        .collect();
    words.join(", ")
}

/// The letters that a label begins with.
fn word(label: &str) -> &str {
    label.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or(label)
}

/// Why none of these machines, which could all run a task, has taken it.
fn busy(able: &[&Site], shape: &Shape) -> String {
    let words = match able.len() {
        1 => "1 worker can run it, and it is".to_owned(),
        count => format!("{count} workers can run it, and all are"),
    };
    match able.iter().filter_map(|site| site.wait(shape)).min() {
        Some(Wait { ms: 0, .. }) => "it is its turn; it starts in a moment".to_owned(),
        Some(Wait { ms, is_pause: true }) => {
            let soon = duration(ms);
            format!("a worker has just given it back; it may have it again in {soon}")
        }
        Some(Wait { ms, is_pause: false }) => {
            format!("{words} busy; one has room in {} at the latest", duration(ms))
        }
        // Nothing but its owner can keep a machine from it on which nothing of ours runs.
        None => match able.iter().filter(|site| !site.rooms.is_empty()).count() {
            0 if able.iter().all(|site| site.shut.is_none()) => {
                format!("{words} silent or about to leave; it starts when one is back")
            }
            0 => match (able.len(), able.iter().find_map(|site| site.shut_for(shape))) {
                (1, Some(why)) => {
                    format!("{words} not shared right now: {why}; it starts when it is")
                }
                (1, None) => format!("{words} not shared right now; it starts when it is"),
                (_, Some(why)) => {
                    format!("{words} not shared right now, yours: {why}; it starts when one is")
                }
                (_, None) => format!("{words} not shared right now; it starts when one is"),
            },
            1 => "1 worker can run it, and its GPU is in use by its owner; it starts when that is \
                  free"
                .to_owned(),
            count => format!(
                "{count} workers can run it, and their GPUs are in use by their owners; it starts \
                 when one is free"
            ),
        },
    }
}

/// Why none of these machines may run a task that could; not empty.
fn all_barred(bars: Vec<Bar>) -> String {
    let count_of = |bar: Bar| bars.iter().filter(|&&other| other == bar).count();
    if count_of(Bar::But) > 0 {
        return "its result is checked, by a machine of somebody who has had no part in it so far; it \
                goes on when one connects or takes such jobs"
            .to_owned();
    }
    let most = bars.iter().copied().max_by_key(|&bar| count_of(bar));
    let (workers, take, ask) = match bars.len() {
        1 => ("1 worker".to_owned(), "by its owner's rules it takes", "its owner asks"),
        count => {
            (format!("{count} workers"), "by their owners' rules they take", "their owners ask")
        }
    };
    let (why, next) = match most {
        Some(Bar::Kind) => (format!("{take} no jobs of this kind"), "it starts when another comes"),
        Some(Bar::Longest) => {
            let why = format!("{take} no jobs of so long a time limit");
            (why, "submit it with a shorter one if that will do")
        }
        Some(Bar::Whose) => {
            (format!("{take} no jobs of yours"), "ask an owner, or wait for another worker")
        }
        Some(Bar::Price) => {
            let why = format!("{ask} for more than the formula");
            (why, "submit it to the market to have them bid")
        }
        Some(Bar::Isolation | Bar::Labels | Bar::But | Bar::Only) | None => {
            (format!("{take} none such"), "it starts when another comes")
        }
    };
    format!("{workers} could run it, but {why}; {next}")
}

fn nothing_together(needs: &Needs) -> String {
    let gpu = if needs.gpus > 0 {
        format!(" and {} GPU(s) of {} MiB", needs.gpus, needs.gpu_memory_mib)
    } else {
        String::new()
    };
    format!(
        "no single worker has {} core(s), {} MiB of RAM, {} MiB of disk{gpu} together",
        needs.cpu_millis / 1000,
        needs.ram_mib,
        needs.disk_mib,
    )
}

/// `best` is the most that a machine with all else confines which may run the submitter's jobs;
/// `labels` are what it has to offer.
fn no_isolation(asked: Isolation, best: Option<Isolation>, labels: &str) -> String {
    let offers = if labels.is_empty() { String::new() } else { format!(" and offers {labels}") };
    let Some(best) = best else {
        return format!(
            "no worker that is large enough{offers} confines what it runs, so each runs its owner's \
             jobs only; it starts as soon as another connects"
        );
    };
    let (asked, best) = (level(asked), level(best));
    format!(
        "no worker that is large enough{offers} confines at level \"{asked}\"; submit it with \
         isolation \"{best}\" if that will do"
    )
}

fn level(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::None => "none",
        Isolation::Restricted => "restricted",
        Isolation::Docker => "docker",
        Isolation::Full => "full",
    }
}

pub(crate) fn duration(ms: u64) -> String {
    match ms.div_ceil(1000) {
        s @ 0..100 => format!("{s} s"),
        s @ 100..6000 => format!("{} min", s.div_ceil(60)),
        s => format!("{} h", s.div_ceil(3600)),
    }
}
