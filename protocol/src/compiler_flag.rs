//! The flags of gcc that a job may give: those that change how a program is compiled, and none that
//! changes what is read, written or run.

use crate::text::TextError;

/// Longest flag, bytes.
const FLAG_MAX_BYTES: usize = 100;

/// Flags that are taken as they stand.
const WHOLE: [&str; 14] = [
    "-O",
    "-O0",
    "-O1",
    "-O2",
    "-O3",
    "-Og",
    "-Os",
    "-Ofast",
    "-g",
    "-w",
    "-pedantic",
    "-ansi",
    "-pthread",
    "-static",
];

/// What may follow `-f` and `-fno-`, with a value or without one.
///
/// A list of what is good, since what is bad has no end: `-fplugin` loads code, `-fprofile-use`,
/// `-fbranch-probabilities` and `-fresolution` read files, `-fdump-…`, `-fstack-usage`, `-fdeps-file`
/// and `-fdiagnostics-format` write them, `-fcompare-debug` and `-foffload-options` hand flags on.
const GENERATION: [&str; 94] = [
    "PIC",
    "PIE",
    "aggressive-loop-optimizations",
    "align-functions",
    "align-jumps",
    "align-labels",
    "align-loops",
    "associative-math",
    "builtin",
    "cf-protection",
    "common",
    "cx-fortran-rules",
    "cx-limited-range",
    "data-sections",
    "delete-null-pointer-checks",
    "exceptions",
    "excess-precision",
    "expensive-optimizations",
    "fast-math",
    "finite-math-only",
    "float-store",
    "fp-contract",
    "function-sections",
    "gcse",
    "gnu89-inline",
    "if-conversion",
    "inline",
    "inline-functions",
    "inline-limit",
    "inline-small-functions",
    "ipa-cp",
    "ipa-pta",
    "ivopts",
    "jump-tables",
    "keep-inline-functions",
    "loop-interchange",
    "loop-nest-optimize",
    "loop-parallelize-all",
    "loop-unroll-and-jam",
    "lto",
    "math-errno",
    "max-errors",
    "merge-all-constants",
    "merge-constants",
    "modulo-sched",
    "non-call-exceptions",
    "omit-frame-pointer",
    "openmp",
    "openmp-simd",
    "optimize-sibling-calls",
    "pack-struct",
    "peel-loops",
    "pic",
    "pie",
    "plt",
    "prefetch-loop-arrays",
    "reciprocal-math",
    "rename-registers",
    "rounding-math",
    "sanitize",
    "sanitize-recover",
    "sched-pressure",
    "schedule-insns",
    "schedule-insns2",
    "short-enums",
    "signaling-nans",
    "signed-char",
    "signed-zeros",
    "simd-cost-model",
    "single-precision-constant",
    "split-loops",
    "stack-clash-protection",
    "stack-protector",
    "stack-protector-all",
    "stack-protector-strong",
    "strict-aliasing",
    "strict-overflow",
    "trapping-math",
    "trapv",
    "tree-loop-distribution",
    "tree-loop-vectorize",
    "tree-parallelize-loops",
    "tree-slp-vectorize",
    "tree-vectorize",
    "unroll-all-loops",
    "unroll-loops",
    "unsafe-math-optimizations",
    "unsigned-char",
    "unswitch-loops",
    "vect-cost-model",
    "visibility",
    "web",
    "whole-program",
    "wrapv",
];

/// A flag of gcc that changes how a program is compiled, and never what is read, written or run; at
/// most 100 bytes. It is to be one argument of the compiler, never part of a shell's line.
///
/// # Errors
///
/// `Length` or `CompilerFlag`.
pub fn check_compiler_flag(flag: &str) -> Result<(), TextError> {
    let found = flag.len();
    if found == 0 || found > FLAG_MAX_BYTES {
        return Err(TextError::Length { max: FLAG_MAX_BYTES, found });
    }
    let after = |begin: &str| flag.strip_prefix(begin);
    let valued = after("-std=").or(after("-march=")).or(after("-mtune="));
    let is_good = WHOLE.contains(&flag)
        || valued.is_some_and(is_value)
        || after("-D").is_some_and(is_definition)
        || after("-U").is_some_and(is_identifier)
        || after("-l").is_some_and(is_library)
        || after("-W").is_some_and(is_warning)
        || after("-f").is_some_and(is_generation);
    if is_good { Ok(()) } else { Err(TextError::CompilerFlag) }
}

/// A name or number, or several with commas between them; no path and no further flag.
fn is_value(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_+-.,".contains(c))
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `NAME` or `NAME=VALUE`, as the program's own `#define` could say it.
fn is_definition(text: &str) -> bool {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+-*.,\"() ".contains(c);
    is_identifier(name) && value.chars().all(plain)
}

/// A library by its name, found where the system keeps them; never `-l:FILE`.
fn is_library(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_+-.".contains(c))
}

/// A warning; those that hand arguments to other programs have a comma.
fn is_warning(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-=".contains(c))
}

fn is_generation(text: &str) -> bool {
    let text = text.strip_prefix("no-").unwrap_or(text);
    match text.split_once('=') {
        Some((name, value)) => GENERATION.contains(&name) && is_value(value),
        None => GENERATION.contains(&text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{GENERATION, TextError, check_compiler_flag};

    #[test]
    fn flags_that_change_how_a_program_is_compiled_are_taken() {
        for flag in [
            "-O3",
            "-Ofast",
            "-g",
            "-w",
            "-Wall",
            "-Wextra",
            "-Wno-unused",
            "-Werror=format",
            "-Wframe-larger-than=4096",
            "-std=c11",
            "-std=gnu17",
            "-march=native",
            "-march=armv8.2-a+fp16",
            "-mtune=znver3",
            "-DN=1000",
            "-D_GNU_SOURCE",
            "-DNAME=\"a b\"",
            "-UNDEBUG",
            "-lm",
            "-lgomp",
            "-lstdc++",
            "-pthread",
            "-static",
            "-ffast-math",
            "-fno-math-errno",
            "-funroll-loops",
            "-fopenmp",
            "-flto=auto",
            "-fsanitize=address,undefined",
            "-falign-functions=32",
            "-fvisibility=hidden",
        ] {
            assert_eq!(check_compiler_flag(flag), Ok(()), "{flag}");
        }
    }

    #[test]
    fn flags_that_change_what_is_read_written_or_run_are_refused() {
        for flag in [
            "main.c",
            "@flags",
            "-",
            "--",
            " -O2",
            "-O2 -x",
            "-O4x",
            "-c",
            "-S",
            "-E",
            "-x",
            "-xc++",
            "-o",
            "-o/tmp/a",
            "-I.",
            "-I/etc",
            "-isystem",
            "-iquote.",
            "-include",
            "-include/etc/passwd",
            "-imacros",
            "-imacros/etc/shadow",
            "-iprefix",
            "-L.",
            "-L/tmp",
            "-B.",
            "-B/tmp",
            "-T",
            "-Tscript",
            "-specs=x",
            "--specs=x",
            "-wrapper",
            "-wrapper,sh",
            "-no-canonical-prefixes",
            "--sysroot=/",
            "-isysroot/",
            "-save-temps",
            "-save-temps=cwd",
            "-dumpdir",
            "-dD",
            "-MD",
            "-MF",
            "-gsplit-dwarf",
            "-g3",
            "-aux-info",
            "-print-prog-name=sh",
            "-v",
            "-###",
            "-pipe",
            "-shared",
            "-nostdlib",
            "-Xlinker",
            "-Xassembler",
            "-Xpreprocessor",
            "-z",
            "-u",
            "-Wl,-rpath=.",
            "-Wl,--dynamic-linker=x",
            "-Wa,-a=x",
            "-Wp,-MD,x",
            "-W",
            "-W,",
            "-Wall,",
            "-Wall ",
            "-l",
            "-l:evil.so",
            "-l:../evil.so",
            "-l/tmp/evil",
            "-l../evil",
            "-l-o",
            "-lm -o",
            "-D",
            "-D=1",
            "-D1",
            "-D-",
            "-DX=a\nb",
            "-DX=$(id)",
            "-DX=`id`",
            "-DX=a;b",
            "-DX=a|b",
            "-DX='a'",
            "-DX=\\",
            "-DX=/etc/passwd",
            "-DX=#include",
            "-DX=é",
            "-DX\0",
            "-DX Y",
            "-DMAX(a,b)=1",
            "-U",
            "-U X",
            "-UX=1",
            "-std=",
            "-std=/x",
            "-std=-x",
            "-march=",
            "-march=@x",
            "-mtune=a b",
            "-mcmodel=large",
            "-fplugin=evil.so",
            "-fplugin=evil",
            "-fplugin-arg-evil-x=y",
            "-fno-plugin",
            "-fprofile-use",
            "-fprofile-use=x",
            "-fprofile-generate=x",
            "-fprofile-arcs",
            "-fbranch-probabilities",
            "-fauto-profile=x",
            "-ftest-coverage",
            "-fcoverage-mapping",
            "-fdump-tree-all",
            "-fdump-tree-all=x",
            "-fdump-go-spec=x",
            "-fstack-usage",
            "-fcallgraph-info",
            "-fopt-info-all=x",
            "-fsave-optimization-record",
            "-fdiagnostics-format=sarif-file",
            "-fdiagnostics-add-output=sarif",
            "-fdeps-file=x",
            "-fmodule-mapper=x",
            "-fmodules-ts",
            "-fself-test=x",
            "-fcompare-debug=-O0",
            "-foffload-options=-fplugin=x",
            "-foffload=x",
            "-fuse-ld=gold",
            "-fuse-linker-plugin",
            "-fresolution=x",
            "-fwpa",
            "-fltrans-output-list=x",
            "-fpch-preprocess",
            "-fsanitize-blacklist=x",
            "-fsanitize=",
            "-fsanitize=../x",
            "-flto=",
            "-flto=jobserver/../x",
            "-flto=auto -x",
            "-ffast-math=../../x",
            "-ffast-math,x",
            "-f",
            "-fno-",
            "-fno-no-lto",
        ] {
            assert_eq!(check_compiler_flag(flag), Err(TextError::CompilerFlag), "{flag:?}");
        }
        let long = format!("-D{}", "X".repeat(99));
        for (flag, found) in [("", 0), (&*long, 101)] {
            let expected = Err(TextError::Length { max: 100, found });
            assert_eq!(check_compiler_flag(flag), expected, "{flag:?}");
        }
        assert_eq!(check_compiler_flag(&long[..100]), Ok(()));
    }

    #[test]
    fn the_list_is_in_order() {
        assert!(GENERATION.is_sorted_by(|a, b| a < b));
    }

    proptest! {
        /// Whatever passes is one argument that no shell and no driver takes for something else.
        #[test]
        fn what_passes_is_a_flag_without_a_path(
            flag in "-(O|g|D|U|l|W|f|fno-|std=|march=|x|B|)[a-zA-Z0-9_=,./:@ \\-]{0,12}",
        ) {
            if check_compiler_flag(&flag).is_ok() {
                prop_assert!(flag.starts_with('-'));
                prop_assert!(!flag.contains(|c: char| "/\\:@$`'|;&%#".contains(c) || c.is_control()));
            }
        }
    }
}
