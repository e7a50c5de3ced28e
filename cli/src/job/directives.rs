//! `#CG` lines at the top of a script: options that it brings itself.

use clap::Parser;

use super::flags::Flags;

/// How the language of a script begins the lines that are read: `#CG`, and `//CG` in C.
const MARKS: [&str; 2] = ["#CG", "//CG"];

#[derive(Debug, Parser)]
#[command(name = "#CG", no_binary_name = true, disable_help_flag = true, args_override_self = true)]
struct Directives {
    #[command(flatten)]
    flags: Flags,
}

/// Reads the options in the comments before the first line of a script that is none.
///
/// # Errors
///
/// What is wrong with them, in words.
pub fn read(script: &str) -> Result<Flags, String> {
    let mut words = Vec::new();
    for (number, line) in script.lines().enumerate() {
        let line = line.trim();
        let is_comment = line.is_empty() || line.starts_with('#') || line.starts_with("//");
        if !is_comment || line.starts_with("#include") || line.starts_with("#define") {
            break;
        }
        let Some(rest) = MARKS.iter().find_map(|mark| line.strip_prefix(mark)) else { continue };
        if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
            continue; // `#CGI` is about something else.
        }
        let split =
            split(rest).map_err(|what| format!("line {} of the script: {what}", number + 1))?;
        words.extend(split);
    }
    if words.is_empty() {
        return Ok(Flags::default());
    }
    let parsed = Directives::try_parse_from(words);
    parsed.map(|parsed| parsed.flags).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        format!("the script's #CG lines: {first}")
    })
}

/// Splits a line into words, as a shell would: quotes keep spaces, a backslash keeps what follows.
fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => {
                let kept = chars.next().ok_or("a backslash keeps nothing")?;
                word.get_or_insert_default().push(kept);
            }
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::{read, split};
    use crate::job::flags::Flags;

    #[test]
    fn options_stand_at_the_top_of_a_script() {
        let script = "#!/usr/bin/env python3\n# About it.\n#CG --array 1-10%4 --ram 4G  # much\n\
                      #CGI is no mark\n\n#CG --name 'two words' --out '*.csv'\nimport os\n#CG --hold\n";
        let flags = read(script).unwrap();
        let expected = Flags {
            array: Some("1-10%4".to_owned()),
            ram: Some(4096),
            name: Some("two words".to_owned()),
            outputs: vec!["*.csv".to_owned()],
            ..Flags::default()
        };
        assert_eq!(flags, expected);
        let c = read("//CG --cpus 4\n#include <stdio.h>\n//CG --cpus 8\n").unwrap();
        assert_eq!(c.cpus, Some(4));
        assert_eq!(read("print(1)\n#CG --hold").unwrap(), Flags::default());
    }

    #[test]
    fn what_is_wrong_is_told() {
        for script in ["#CG --nonsense", "#CG file.py", "#CG --ram much", "#CG 'open", "#CG -- x"] {
            assert!(read(script).is_err(), "{script}");
        }
    }

    #[test]
    fn the_command_line_outweighs_the_script() {
        let script = read("#CG --ram 1G --cpus 2 --array 1-9 --file a --python").unwrap();
        let line = read("#CG --ram 2G --lines l.txt --file b --c").unwrap();
        let flags = line.over(script);
        assert_eq!((flags.ram, flags.cpus), (Some(2048), Some(2)));
        assert_eq!((flags.array, flags.lines.as_deref()), (None, Some("l.txt")));
        assert_eq!(flags.files, ["a", "b"]);
        assert!(flags.c && !flags.python);
    }

    #[test]
    fn words_are_split_as_a_shell_would() {
        assert_eq!(
            split(r#" a 'b c' "d \" e" f\ g '' # h"#).unwrap(),
            ["a", "b c", "d \" e", "f g", ""]
        );
        assert_eq!(split("a#b").unwrap(), ["a#b"]);
        assert!(split("\\").is_err());
    }
}
