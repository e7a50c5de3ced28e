//! The blobs of an end, and what is left of it when the manager will not have one of them.

use campusgrid_protocol::id::BlobHash;
use campusgrid_protocol::task::{BlobRef, Content, Ended, Log, Saved};

/// Of the words about what was left behind. Characters.
const LEFT_BEHIND_MAX: usize = 4000;

/// Of the manager's reason. Characters.
const REASON_MAX: usize = 200;

/// The blobs that must be with the manager before it is told of the end: each once, by their hashes;
/// of a checkpoint its manifest stands for the files that it names.
pub(crate) fn blobs_of(ended: &Ended) -> Vec<BlobRef> {
    let logs = [&ended.stdout, &ended.stderr].into_iter().filter_map(|log| match &log.content {
        Content::Blob(blob) => Some(*blob),
        Content::Inline(_) => None,
    });
    let manifest = ended.checkpoint.map(|saved| saved.manifest);
    let mut blobs: Vec<BlobRef> =
        logs.chain(ended.outputs.iter().map(|output| output.blob)).chain(manifest).collect();
    blobs.sort_unstable_by_key(|blob| blob.hash);
    blobs.dedup();
    blobs
}

/// Takes a blob out of an end, or all if the manager has not named one, and says so in the words
/// about what was left behind. Without that the end would be offered for ever.
pub(super) fn leave_behind(ended: &mut Ended, refused: Option<BlobHash>, reason: &str) {
    let is_refused = |blob: &BlobRef| refused.is_none_or(|hash| blob.hash == hash);
    let mut named = Vec::new();
    for (name, log) in [("stdout", &mut ended.stdout), ("stderr", &mut ended.stderr)] {
        if let Content::Blob(blob) = &log.content
            && is_refused(blob)
        {
            let cut_bytes = log.cut_bytes.saturating_add(blob.size_bytes);
            *log = Log { content: Content::Inline(Vec::new()), cut_bytes };
            named.push(name.to_owned());
        }
    }
    ended.outputs.retain(|output| {
        let is_kept = !is_refused(&output.blob);
        if !is_kept {
            named.push(output.path.clone());
        }
        is_kept
    });
    // What the end itself does not name, its checkpoint's manifest does.
    let is_of_checkpoint = |saved: &Saved| is_refused(&saved.manifest) || named.is_empty();
    if ended.checkpoint.as_ref().is_some_and(is_of_checkpoint) {
        ended.checkpoint = None;
        named.push("what the task saved to go on from".to_owned());
    }
    let reason: String = reason.chars().take(REASON_MAX).collect();
    let words = format!("the manager did not take {}: {reason}", named.join(", "));
    let before = std::mem::take(&mut ended.left_behind);
    let words = if before.is_empty() { words } else { format!("{before}; {words}") };
    ended.left_behind = words.chars().take(LEFT_BEHIND_MAX).collect();
}
