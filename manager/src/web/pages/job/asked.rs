//! What a job asked for, in words.

mod terms;

use campusgrid_protocol::rest::JobDetail;
use campusgrid_protocol::task::Packages;

use crate::web::text_stream::shown;
use crate::web::words;

/// What a job asked for. Text from outside has its hidden characters made visible.
pub(super) struct Asked {
    /// Cores, memory, disk, GPUs and time.
    pub(super) needs: String,
    pub(super) requirements: Vec<String>,
    /// Versions of Python; empty if all will do.
    pub(super) python: String,
    /// The file that pins its packages.
    pub(super) file: Option<File>,
    pub(super) flags: Vec<String>,
    pub(super) features: Vec<String>,
    /// Empty if it runs on the machine's own system.
    pub(super) image: String,
    pub(super) isolation: &'static str,
    pub(super) shared_tmp: bool,
    /// The file that is run in place of a source; empty if there is none.
    pub(super) entry: String,
    pub(super) arguments: Vec<String>,
    /// What is asked of the grid beyond that: a title and words for each.
    pub(super) terms: Vec<(&'static str, String)>,
}

/// A file that came with the job.
pub(super) struct File {
    pub(super) title: &'static str,
    pub(super) text: String,
}

impl Asked {
    pub(super) fn new(detail: &JobDetail) -> Self {
        let (requirements, python, file) = match &detail.packages {
            None | Some(Packages::None) => (Vec::new(), String::new(), None),
            Some(Packages::Names { requirements, requires_python }) => {
                let names = requirements.iter().map(|name| words::visible(name)).collect();
                (names, words::visible(requires_python.as_deref().unwrap_or_default()), None)
            }
            Some(Packages::Hashed { text }) => {
                let file = File { title: "Packages with hashes", text: shown(text) };
                (Vec::new(), String::new(), Some(file))
            }
            Some(Packages::UvLock { text }) => {
                let file = File { title: "uv.lock", text: shown(text) };
                (Vec::new(), String::new(), Some(file))
            }
        };
        // An image is required by a label, and told by its own name.
        let of_image = detail.image.as_ref().map(|image| format!("image:{image}"));
        let features = detail.labels.iter().filter(|&label| Some(label) != of_image.as_ref());
        Self {
            needs: needs(detail),
            requirements,
            python,
            file,
            flags: detail.flags.iter().map(|flag| words::visible(flag)).collect(),
            features: features.cloned().collect(),
            image: detail.image.clone().unwrap_or_default(),
            isolation: words::least_isolation(detail.isolation),
            shared_tmp: detail.shared_tmp,
            entry: words::visible(detail.entry.as_deref().unwrap_or_default()),
            arguments: detail.arguments.iter().map(|argument| words::visible(argument)).collect(),
            terms: terms::words_of(detail),
        }
    }
}

fn needs(detail: &JobDetail) -> String {
    let needs = &detail.needs;
    let mut gpus = words::counted(needs.gpus.into(), "GPU", "GPUs");
    if needs.gpu_memory_mib > 0 {
        gpus.push_str(&format!(" with at least {}", words::mib(needs.gpu_memory_mib)));
    }
    let cores = words::counted(u64::from(needs.cpu_millis / 1000), "core", "cores");
    let (ram, disk) = (words::mib(needs.ram_mib), words::mib(needs.disk_mib));
    let time = words::span(u64::from(detail.time_limit_s) * 1000);
    format!("{cores} · {ram} memory · {disk} disk · {gpus} · at most {time}")
}
