//! What a job brought and what it left, and how long that is kept.

use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::JobId;
use campusgrid_protocol::rest::JobDetail;

use crate::store::read::{StoredOutput, Viewer};
use crate::web::Site;
use crate::web::error::WebError;
use crate::web::pages::account::encode;
use crate::web::pages::files::{FileRow, view_files};
use crate::web::words::{self, Moment};

/// Outputs on one page.
const OUTPUTS_SHOWN: u32 = 100;
/// Input files shown here; all are on a page of their own.
const INPUTS_SHOWN: u32 = 20;

/// The files of a job.
pub(super) struct JobFiles {
    pub(super) outputs: Vec<OutputRow>,
    /// How many there are and how large they are, in words.
    pub(super) outputs_total: String,
    /// Where the page after this one is, if there is one.
    pub(super) outputs_next: Option<String>,
    pub(super) inputs: Vec<FileRow>,
    pub(super) inputs_total: String,
    /// Whether there are more than these.
    pub(super) inputs_more: bool,
    /// Until when, in words; empty while it has not ended.
    pub(super) kept: String,
    /// Whether they are kept no longer.
    pub(super) gone: bool,
    /// Whether they can be deleted.
    pub(super) can_go: bool,
}

/// An output to download.
pub(super) struct OutputRow {
    /// By its index.
    pub(super) task: u32,
    /// With its hidden characters made visible.
    pub(super) path: String,
    pub(super) href: String,
    pub(super) size: String,
}

/// Reads the files, the outputs from the one after `after` on.
///
/// # Errors
///
/// `NotFound`, `Read`.
pub(super) async fn read_files(
    site: &Site,
    viewer: Viewer,
    detail: &JobDetail,
    after: Option<(u32, String)>,
) -> Result<JobFiles, WebError> {
    let job = JobId(detail.job.job);
    let read = site.readers.read(move |reader| {
        let after = after.as_ref().map(|(task, path)| (*task, path.as_str()));
        let outputs = reader.outputs(viewer, job, after, OUTPUTS_SHOWN)?;
        Ok((outputs, reader.outputs_total(viewer, job)?))
    });
    let (outputs, total) = read.await?;
    let (outputs, (count, bytes)) = (outputs.unwrap_or_default(), total.unwrap_or_default());
    let inputs = view_files(site, viewer, job, None, INPUTS_SHOWN).await?;
    let inputs = inputs.of(detail.files, detail.files_bytes);
    let ended = detail.job.ended_at_ms.is_some();
    let gone = ended && detail.job.kept_until_ms.is_none();
    let last = outputs.last().filter(|_| outputs.len() >= OUTPUTS_SHOWN as usize);
    let next = last
        .map(|last| format!("/jobs/{job}?outputs={}:{}#outputs", last.index, encode(&last.path)));
    Ok(JobFiles {
        outputs: outputs.iter().map(|output| OutputRow::new(job, output)).collect(),
        outputs_total: total_words(count, bytes),
        outputs_next: next,
        inputs: inputs.rows,
        inputs_total: total_words(detail.files, detail.files_bytes),
        inputs_more: inputs.next.is_some(),
        kept: kept(detail, site.clock.now()),
        gone,
        can_go: ended && !gone,
    })
}

/// A place in the list of outputs, as addresses write it.
pub(super) fn place_of(text: &str) -> Option<(u32, String)> {
    let (task, path) = text.split_once(':')?;
    Some((task.parse().ok()?, path.to_owned()))
}

impl OutputRow {
    fn new(job: JobId, output: &StoredOutput) -> Self {
        Self {
            task: output.index,
            href: format!("/api/v1/jobs/{job}/outputs/{}/{}", output.index, encode(&output.path)),
            path: words::visible(&output.path),
            size: words::bytes(output.blob.size_bytes),
        }
    }
}

fn total_words(count: u32, bytes: u64) -> String {
    format!("{}, {}", words::counted(count.into(), "file", "files"), words::bytes(bytes))
}

fn kept(detail: &JobDetail, now: Timestamp) -> String {
    if detail.job.ended_at_ms.is_none() {
        return String::new();
    }
    match detail.job.kept_until_ms {
        None => "Its files and logs are kept no longer.".to_owned(),
        Some(until) => {
            let left = words::hours_left(Timestamp(until).since_ms(now));
            let until = Moment::new(until, now).text;
            format!("Files and logs are kept until {until}, for another {left}.")
        }
    }
}
