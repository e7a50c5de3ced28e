//! Tables for the reader: three sources in, values and problems out.

use std::path::Path;

use expect_test::{Expect, expect};

use crate::file::{self, ConfigFile};
use crate::nearest::nearest;
use crate::reader::{Flag, Reader};

/// Reads a small program's settings from `file`, `NAME=value` and `key=value` texts.
fn check(file: &str, environment: &[&str], flags: &[&str], expected: Expect) {
    let file = ConfigFile { name: "config.toml".to_owned(), text: file.to_owned() };
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    let flag = |text: &&str| {
        let (key, value) = pair(text);
        Flag { name: format!("--{}", key.replace('.', "-")), key, value }
    };
    let environment = environment.iter().map(|text| pair(text));
    let mut reader = Reader::new(Some(file), environment, flags.iter().map(flag));
    reader.leave_section("worker");
    reader.alias("manager.port", "MANAGER_PORT");
    let port: u16 = reader.integer("manager.port", 9999, 1..=65535);
    let docker = reader.switch("manager.use_docker", true);
    let host = reader.text("manager.host", "127.0.0.1", |host| {
        if host.contains(' ') { Err("must not contain spaces") } else { Ok(()) }
    });
    let data = reader.optional_path("manager.data_dir");
    let billing = reader.word("credits.billing", 'a', &[("actual", 'a'), ("quoted", 'q')]);
    let cap: Option<u32> = reader.optional_integer("credits.cap", 0..=10);
    let values = format!("{port} {docker} {host} {data:?} {billing} {cap:?}");
    let said = match reader.finish() {
        Ok(()) => values,
        Err(problems) => problems.to_string(),
    };
    expected.assert_eq(&said);
}

#[test]
fn nothing_given_is_all_defaults() {
    check("", &[], &[], expect!["9999 true 127.0.0.1 None a None"]);
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let file = "[manager]\nport = 1\nhost = 'file'\nuse_docker = false\n[credits]\ncap = 3";
    let environment = ["CAMPUSGRID_MANAGER_PORT=2", "CAMPUSGRID_MANAGER_HOST=env"];
    check(file, &environment, &["manager.port=4"], expect!["4 false env None a Some(3)"]);
}

#[test]
fn an_alias_counts_and_the_full_name_wins_over_it() {
    check("", &["MANAGER_PORT=7"], &[], expect!["7 true 127.0.0.1 None a None"]);
    let both = ["MANAGER_PORT=7", "CAMPUSGRID_MANAGER_PORT=8"];
    check("", &both, &[], expect!["8 true 127.0.0.1 None a None"]);
}

#[test]
fn words_of_yes_and_no_are_taken_from_the_environment_but_not_from_the_file() {
    check(
        "",
        &["CAMPUSGRID_MANAGER_USE_DOCKER=Off"],
        &[],
        expect!["9999 false 127.0.0.1 None a None"],
    );
    check(
        "[manager]\nuse_docker = 'off'",
        &[],
        &[],
        expect![[r#"config.toml: manager.use_docker = "off": must be true or false"#]],
    );
}

#[test]
fn an_empty_variable_is_no_value() {
    check(
        "",
        &["MANAGER_PORT=", "CAMPUSGRID_MANAGER_DATA_DIR= "],
        &[],
        expect!["9999 true 127.0.0.1 None a None"],
    );
}

#[test]
fn every_problem_of_every_source_is_reported_even_of_values_that_are_overridden() {
    let file = "[manager]\nport = 99999\nhost = 3\nuse_dokcer = true\n[credits]\nbilling = 'free'\ncap = 1.5\n[mangler]\nx = 1\ny = 2";
    let environment =
        ["CAMPUSGRID_MANAGER_PORT=abc", "CAMPUSGRID_MANAGER_HSOT=h", "MANAGER_PORT=0"];
    check(
        file,
        &environment,
        &["manager.port=-1"],
        expect![[r#"
            10 problems in the configuration:
              flag --manager-port -1: must be 1 to 65535
              environment CAMPUSGRID_MANAGER_PORT=abc: not a whole number
              environment MANAGER_PORT=0: must be 1 to 65535
              config.toml: manager.port = 99999: must be 1 to 65535
              config.toml: manager.host = 3: must be a text in quotes
              config.toml: credits.billing = "free": must be one of: actual, quoted
              config.toml: credits.cap = 1.5: not a whole number
              config.toml: manager.use_dokcer: unknown setting; did you mean manager.use_docker?
              config.toml: [mangler]: unknown section; did you mean manager?
              environment CAMPUSGRID_MANAGER_HSOT: unknown setting; did you mean CAMPUSGRID_MANAGER_HOST?"#]],
    );
}

#[test]
fn another_programs_section_and_variables_are_left_alone() {
    let file = "[worker]\ncores = 'many'\nanything = []\n[manager]\n[credits]";
    let environment = ["CAMPUSGRID_WORKER_CORES=x", "CAMPUSGRID_LOG=debug", "CAMPUSGRID_JOB_ID=1"];
    check(file, &environment, &[], expect!["9999 true 127.0.0.1 None a None"]);
}

#[test]
fn a_slip_in_a_variables_section_is_found_too() {
    check(
        "",
        &["CAMPUSGRID_MANGER_PORT=1"],
        &[],
        expect![
            "environment CAMPUSGRID_MANGER_PORT: unknown setting; did you mean CAMPUSGRID_MANAGER_PORT?"
        ],
    );
}

#[test]
fn a_file_that_is_no_toml_is_named_with_its_line() {
    check(
        "[manager]\nport = = 1\n",
        &["MANAGER_PORT=x"],
        &[],
        expect![[r#"
        2 problems in the configuration:
          config.toml line 2: extra `=`, expected nothing
          environment MANAGER_PORT=x: not a whole number"#]],
    );
    check(
        "port = 1",
        &[],
        &[],
        expect!["config.toml: port: stands outside of a section such as [manager]"],
    );
    check("[manager]\nport = 1\nport = 2", &[], &[], expect!["config.toml line 3: duplicate key"]);
}

#[test]
fn a_value_in_a_message_is_one_short_line() {
    let long = format!("CAMPUSGRID_MANAGER_PORT=a\n\u{1b}[31m{}", "x".repeat(200));
    check(
        "",
        &[&long],
        &[],
        expect![
            "environment CAMPUSGRID_MANAGER_PORT=a[31mxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: not a whole number"
        ],
    );
}

#[test]
fn a_flag_for_no_setting_is_reported() {
    check(
        "",
        &[],
        &["manager.prot=1"],
        expect!["flag --manager-prot: unknown setting manager.prot"],
    );
}

#[test]
fn only_a_named_file_must_exist() {
    let missing = Path::new("/nonexistent/config.toml");
    let problems = file::read(Some(missing)).unwrap_err();
    assert!(problems.0[0].starts_with("/nonexistent/config.toml: No such file"));
}

#[test]
fn the_nearest_name_is_near() {
    assert_eq!(nearest("prot", ["port", "host"]), Some("port"));
    assert_eq!(nearest("xyzzy", ["port", "host"]), None);
}

#[test]
fn short_names_are_not_guessed_at_from_their_section_alone() {
    check(
        "[credits]\ncup = 1\nxyz = 1\n",
        &["CAMPUSGRID_CREDITS_XYZ=1"],
        &[],
        expect![[r#"
            3 problems in the configuration:
              config.toml: credits.cup: unknown setting; did you mean credits.cap?
              config.toml: credits.xyz: unknown setting
              environment CAMPUSGRID_CREDITS_XYZ: unknown setting"#]],
    );
}
