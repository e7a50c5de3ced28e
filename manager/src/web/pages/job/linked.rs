//! Sentences about jobs, in which each job's name leads to it.

use crate::web::words;

/// Words about jobs in pieces, those that name a job with its number; hidden characters are named.
pub(super) fn linked(text: &str) -> Vec<Piece> {
    let visible = words::visible(text);
    let mut pieces = Vec::new();
    let mut rest = visible.as_str();
    let mut before = String::new();
    while let Some(at) = rest.find("job ") {
        let (head, tail) = rest.split_at(at);
        let digits = tail[4..].bytes().take_while(u8::is_ascii_digit).count();
        let starts_word = !head.ends_with(|c: char| c.is_alphanumeric());
        before.push_str(head);
        let (name, after) = tail.split_at(4 + digits);
        match name[4..].parse() {
            Ok(job) if starts_word => {
                let text = std::mem::take(&mut before);
                pieces.push(Piece { text, job: None });
                pieces.push(Piece { text: name.to_owned(), job: Some(job) });
            }
            Ok(_) | Err(_) => before.push_str(name),
        }
        rest = after;
    }
    before.push_str(rest);
    pieces.push(Piece { text: before, job: None });
    pieces.retain(|piece| !piece.text.is_empty());
    pieces
}

/// A part of a sentence; with a number, it leads to that job.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) job: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::linked;

    #[test]
    fn jobs_in_sentences_become_links() {
        let shown = |text| {
            let pieces = linked(text).into_iter().map(|piece| match piece.job {
                Some(job) => format!("[{} {job}]", piece.text),
                None => piece.text,
            });
            pieces.collect::<String>()
        };
        for (text, expected) in [
            ("after job 12", "after [job 12 12]"),
            ("job 3 failed, and job 4 too", "[job 3 3] failed, and [job 4 4] too"),
            ("this job is held", "this job is held"),
            ("subjob 3, job x, job ", "subjob 3, job x, job "),
            ("", ""),
        ] {
            assert_eq!(shown(text), expected);
        }
    }
}
