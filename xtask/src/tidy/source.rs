//! A Rust file as lines, with code, comments and texts told apart.

use std::collections::BTreeSet;

/// One file.
#[derive(Debug)]
pub(super) struct Source {
    /// Relative to the root, with slashes.
    pub(super) path: String,
    pub(super) lines: Vec<Line>,
    /// The texts in quotes, with the line on which each begins, from 0 on.
    pub(super) texts: Vec<(usize, String)>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Line {
    /// Without comments; what stands in quotes is gone, the quotes are not.
    pub(super) code: String,
    pub(super) comment: String,
    pub(super) is_test: bool,
}

impl Source {
    pub(super) fn read(path: &str, text: &str) -> Self {
        let mut source = Scanner::new(path, text).scan();
        let all_test = path.contains("/tests/") || path.ends_with("/tests.rs");
        if all_test {
            source.mark_all();
        } else {
            source.mark_test_items();
        }
        source
    }

    fn mark_all(&mut self) {
        for line in &mut self.lines {
            line.is_test = true;
        }
    }

    /// All code, with the line's end after every line.
    pub(super) fn code(&self) -> String {
        self.lines.iter().map(|line| format!("{}\n", line.code)).collect()
    }

    /// Marks what follows `#[cfg(test)]` up to its closing brace.
    fn mark_test_items(&mut self) {
        let mut depth = None;
        let mut pending = false;
        for line in &mut self.lines {
            let start = line.code.find("#[cfg(test)]");
            pending |= start.is_some();
            line.is_test = pending || depth.is_some();
            let from = start.map_or(0, |start| start + "#[cfg(test)]".len());
            for c in line.code[from..].chars() {
                match (c, depth) {
                    ('{', None) if pending => (depth, pending) = (Some(1), false),
                    (';', None) => pending = false,
                    ('{', Some(open)) => depth = Some(open + 1),
                    ('}', Some(1)) => depth = None,
                    ('}', Some(open)) => depth = Some(open - 1),
                    (_, _) => {}
                }
            }
        }
    }

    /// The files of modules that this one declares for tests only, without `.rs` or `/mod.rs`.
    fn test_modules(&self) -> Vec<String> {
        let code = self.code();
        let folder = self.path.trim_end_matches(".rs");
        let (parent, stem) = folder.rsplit_once('/').unwrap_or(("", folder));
        let folder = if matches!(stem, "lib" | "main" | "mod") { parent } else { folder };
        let rests = code.split("#[cfg(test)]").skip(1);
        rests
            .filter_map(|rest| {
                let name = rest.trim_start().strip_prefix("mod ")?.split([';', '{']).next()?;
                Some(format!("{folder}/{}", name.trim()))
            })
            .collect()
    }
}

/// Marks the files of modules that are declared for tests only, and what lies below them.
pub(super) fn mark_test_modules(sources: &mut [Source]) {
    let modules: BTreeSet<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in sources {
        let is_test = modules.iter().any(|module| {
            source.path == format!("{module}.rs") || source.path.starts_with(&format!("{module}/"))
        });
        if is_test {
            source.mark_all();
        }
    }
}

/// Walks through a file once, character by character.
struct Scanner<'a> {
    source: Source,
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    /// The last character of the code, by which a raw text is told from a name that ends in `r`.
    before: char,
}

impl<'a> Scanner<'a> {
    fn new(path: &str, text: &'a str) -> Self {
        let source =
            Source { path: path.to_owned(), lines: vec![Line::default()], texts: Vec::new() };
        Self { source, rest: text.chars().peekable(), before: '\n' }
    }

    fn scan(mut self) -> Source {
        while let Some(c) = self.rest.next() {
            match c {
                '/' if self.rest.peek() == Some(&'/') => self.line_comment(),
                '/' if self.rest.peek() == Some(&'*') => self.block_comment(),
                '"' => self.text(),
                'r' if !is_word(self.before) || matches!(self.before, 'b' | 'c') => self.raw_text(),
                '\'' => self.quote(),
                c => self.code(c),
            }
        }
        self.source
    }

    fn line(&mut self) -> &mut Line {
        let last = self.source.lines.len() - 1;
        &mut self.source.lines[last]
    }

    fn code(&mut self, c: char) {
        self.before = c;
        if c == '\n' {
            self.source.lines.push(Line::default());
        } else {
            self.line().code.push(c);
        }
    }

    fn comment(&mut self, c: char) {
        if c == '\n' {
            self.source.lines.push(Line::default());
        } else {
            self.line().comment.push(c);
        }
    }

    fn line_comment(&mut self) {
        self.comment('/');
        while let Some(c) = self.rest.next_if(|&c| c != '\n') {
            self.comment(c);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        let mut before = '/';
        while let Some(c) = self.rest.next() {
            match (before, c) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                (_, _) => {}
            }
            let token_ended = matches!((before, c), ('/', '*') | ('*', '/'));
            before = if token_ended { ' ' } else { c };
            self.comment(c);
            if depth == 0 {
                return;
            }
        }
    }

    fn text(&mut self) {
        let line = self.source.lines.len() - 1;
        let mut text = String::new();
        self.code('"');
        while let Some(c) = self.rest.next() {
            match c {
                '"' => break,
                '\\' => text.extend(self.rest.next()),
                c => text.push(c),
            }
            if text.ends_with('\n') {
                self.source.lines.push(Line::default());
            }
        }
        self.code('"');
        self.source.texts.push((line, text));
    }

    /// After an `r` that begins a word: a raw text, a raw name, or just a word.
    fn raw_text(&mut self) {
        self.code('r');
        let mut hashes = 0;
        while self.rest.next_if_eq(&'#').is_some() {
            hashes += 1;
        }
        if self.rest.next_if_eq(&'"').is_none() {
            return;
        }
        let line = self.source.lines.len() - 1;
        let end = format!("\"{}", "#".repeat(hashes));
        let mut text = String::new();
        self.code('"');
        for c in self.rest.by_ref() {
            text.push(c);
            if c == '\n' {
                self.source.lines.push(Line::default());
            }
            if text.ends_with(&end) {
                text.truncate(text.len() - end.len());
                break;
            }
        }
        self.code('"');
        self.source.texts.push((line, text));
    }

    /// A character in quotes, or a lifetime.
    fn quote(&mut self) {
        self.code('\'');
        let mut ahead = self.rest.clone();
        let is_character = match ahead.next() {
            Some('\\') => true,
            Some(_) => ahead.next() == Some('\''),
            None => false,
        };
        if !is_character {
            return;
        }
        if self.rest.next() == Some('\\') {
            self.rest.next();
        }
        while self.rest.next_if(|&c| c != '\'' && c != '\n').is_some() {}
        self.rest.next();
        self.code('\'');
    }
}

pub(super) fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
