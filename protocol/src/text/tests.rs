//! Texts from people and workers as they should be, and as attackers write them.

use proptest::prelude::*;

use super::{
    TextError, check_feature, check_image, check_label, check_offer, check_path, check_user_name,
};

fn long(part: &str, times: usize) -> String {
    part.repeat(times)
}

#[test]
fn user_names_are_plain() {
    for name in ["a", "Ada", "ada.lovelace", "a_b-c.d", "007", &long("x", 32)] {
        assert_eq!(check_user_name(name), Ok(()), "{name:?}");
    }
    for (name, error) in [
        ("", TextError::Length { max: 32, found: 0 }),
        (&*long("x", 33), TextError::Length { max: 32, found: 33 }),
        (".ada", TextError::UserName),
        ("-r", TextError::UserName),
        ("_", TextError::UserName),
        ("a b", TextError::UserName),
        ("a/b", TextError::UserName),
        ("ada\n", TextError::UserName),
        ("ada\0", TextError::UserName),
        ("Zoë", TextError::UserName),
        ("аda", TextError::UserName), // Its first letter is Cyrillic.
        ("<b>", TextError::UserName),
    ] {
        assert_eq!(check_user_name(name), Err(error), "{name:?}");
    }
}

#[test]
fn labels_show_what_they_hold() {
    for label in ["a", "Zoë's laptop", "学生のPC", "<b>&amp;", " a ", &long("ß", 64)] {
        assert_eq!(check_label(label), Ok(()), "{label:?}");
    }
    for (label, error) in [
        ("", TextError::Length { max: 64, found: 0 }),
        (&*long("ß", 65), TextError::Length { max: 64, found: 65 }),
        (" ", TextError::Blank),
        ("\u{a0}\u{3000}", TextError::Blank),
        ("a\nb", TextError::Control),
        ("a\0", TextError::Control),
        ("\x1b[31mred", TextError::Control),
        ("a\u{7f}", TextError::Control),
        ("a\u{85}", TextError::Control),
        ("a\u{ad}b", TextError::Control),
        ("a\u{61c}b", TextError::Control),
        ("a\u{200b}b", TextError::Control),
        ("a\u{2028}b", TextError::Control),
        ("cod\u{202e}exe", TextError::Control),
        ("a\u{2066}b", TextError::Control),
        ("\u{feff}a", TextError::Control),
        ("a\u{e0041}", TextError::Control),
    ] {
        assert_eq!(check_label(label), Err(error), "{label:?}");
    }
}

#[test]
fn paths_stay_below_their_directory() {
    for path in ["a", "a/b.txt", "...", "..a", "a..", " ", "-rf", &long("x", 255)] {
        assert_eq!(check_path(path), Ok(()), "{path:?}");
    }
    assert_eq!(check_path(long("a/", 16).trim_end_matches('/')), Ok(()));
    for path in [
        "/",
        "/etc/passwd",
        "..",
        ".",
        "a/..",
        "../a",
        "a/../b",
        "./a",
        "a/.",
        "a//b",
        "a/",
        "a\\b",
        "..\\a",
        "a\nb",
        "a\0",
        "a\u{85}b",
        &long("ß", 200),
        long("a/", 17).trim_end_matches('/'),
    ] {
        assert_eq!(check_path(path), Err(TextError::Path), "{path:?}");
    }
    for (path, found) in [(String::new(), 0), (long("x", 256), 256)] {
        assert_eq!(check_path(&path), Err(TextError::Length { max: 255, found }));
    }
}

#[test]
fn images_name_their_content() {
    let hex = "0123456789abcdef".repeat(4);
    let good = [
        "default",
        &*format!("sha256:{hex}"),
        &*format!("gcc@sha256:{hex}"),
        &*format!("docker.io/library/gcc@sha256:{hex}"),
        &*format!("localhost:5000/a_b-c/d.e:1.2-RC@sha256:{hex}"),
        &*format!("{}@sha256:{hex}", long("x", 183)),
    ];
    for image in good {
        assert_eq!(check_image(image), Ok(()), "{image}");
        assert_eq!(check_feature(&format!("image:{image}")), Ok(()), "{image}");
    }
    let upper = hex.to_uppercase();
    let bad = [
        "gcc",
        "gcc:13",
        "Default",
        "default@sha256:",
        "sha256:",
        &*format!("sha256:{}", &hex[1..]),
        &*format!("sha256:{hex}0"),
        &*format!("sha256:{upper}"),
        &*format!("sha512:{hex}"),
        &*format!("gcc@{hex}"),
        &*format!("gcc@default@sha256:{hex}x"),
        &*format!("@sha256:{hex}"),
        &*format!("a@b@sha256:{hex}"),
        &*format!("-gcc@sha256:{hex}"),
        &*format!("/gcc@sha256:{hex}"),
        &*format!("a//b@sha256:{hex}"),
        &*format!("a/@sha256:{hex}"),
        &*format!("../gcc@sha256:{hex}"),
        &*format!("a/../../containers/x@sha256:{hex}"),
        &*format!("a/..@sha256:{hex}"),
        &*format!("a/./b@sha256:{hex}"),
        &*format!("a%2f..@sha256:{hex}"),
        &*format!("a?x=@sha256:{hex}"),
        &*format!("a#@sha256:{hex}"),
        &*format!("a b@sha256:{hex}"),
        &*format!("a\n@sha256:{hex}"),
        &*format!("gcc@sha256:{hex}\n"),
        &*format!("gcc@sha256:{hex} "),
        &*format!("é@sha256:{hex}"),
        "*",
    ];
    for image in bad {
        assert_eq!(check_image(image), Err(TextError::Image), "{image:?}");
    }
    for (image, found) in [(String::new(), 0), (format!("{}@sha256:{hex}", long("x", 184)), 256)] {
        assert_eq!(check_image(&image), Err(TextError::Length { max: 255, found }));
    }
}

#[test]
fn features_are_plain_and_offers_may_stand_for_many() {
    let image = format!("image:{}", long("x", 255));
    for feature in ["R", "python3.12", "g++", "cuda:12.4", "image:a/b@sha256:0", "7z", &image] {
        assert_eq!(check_feature(feature), Ok(()), "{feature:?}");
        assert_eq!(check_offer(feature), Ok(()), "{feature:?}");
        let is_offer = check_offer(&format!("{feature}*")).is_ok();
        assert_eq!(is_offer, feature.starts_with("image:"), "{feature:?}");
    }
    for many in ["image:*", "image:docker.io/*", "image:sha256:*"] {
        assert_eq!(check_offer(many), Ok(()), "{many:?}");
    }
    for feature in [
        "*",
        "a*b",
        "**",
        "a**",
        "p*",
        "images:*",
        "image*",
        "image:**",
        "image:*a",
        " R",
        "R ",
        "a b",
        "-R",
        ".a",
        "+",
        "a,b",
        "a\n",
        "a\0",
        "<b>",
        "é",
        "a\u{202e}",
    ] {
        assert!(check_feature(feature).is_err(), "{feature:?}");
        assert!(check_offer(feature).is_err(), "{feature:?}");
    }
    assert_eq!(check_feature("a*"), Err(TextError::Feature), "a job does not ask for anything");
    for (feature, found) in [(String::new(), 0), (long("x", 262), 262)] {
        assert_eq!(check_feature(&feature), Err(TextError::Length { max: 261, found }));
    }
}

proptest! {
    #[test]
    fn a_path_that_passes_leads_downwards(path in "[a./\\\\\u{0}-\u{20}]{0,12}") {
        if check_path(&path).is_ok() {
            let parts = std::path::Path::new(&path).components();
            prop_assert!(parts.clone().all(|part| matches!(part, std::path::Component::Normal(_))));
            prop_assert_eq!(parts.count(), path.split('/').count());
        }
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        drop((check_user_name(&text), check_label(&text), check_path(&text)));
        drop((check_image(&text), check_feature(&text), check_offer(&text)));
    }
}
