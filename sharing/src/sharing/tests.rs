//! The state machine by hand-written days, and by properties over days that nobody would think of.

use std::fmt::Write;

use campusgrid_protocol::rules::{Days, Power, Span};
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::gate::HOLD_MS;
use crate::senses::{Feed, Presence};

/// Monday, 2026-11-23, 14:00 in Berlin.
const START_MS: u64 = 1_795_438_800_000;

/// How long the machine is up at the start.
const UP_MS: u64 = 10_000_000;

fn now(ms: u64) -> Now {
    Now { boot_ms: UP_MS + ms, unix_ms: START_MS + ms }
}

fn zone() -> TimeZone {
    crate::zone::named("Europe/Berlin").unwrap()
}

fn senses() -> Senses {
    Senses {
        presence: Presence::AwaySince { boot_ms: 0 },
        feed: Feed::Mains,
        is_metered: false,
        programs: Vec::new(),
        others_load_percent: Some(0),
        temperature_c: Some(40),
        is_asleep: false,
    }
}

fn rules(when: Conditions) -> Rules {
    Rules { when, ..Rules::default() }
}

type Change = fn(&mut Sharing, &mut Senses);

/// Lives through what happens at seconds after the start, and says each verdict that is new.
fn live(mut sharing: Sharing, happens: &[(u64, Change)]) -> String {
    let (mut senses, mut said, mut last) = (senses(), String::new(), None);
    let mut tell = |sharing: &mut Sharing, ms, senses: &Senses| {
        let shares = sharing.look(now(ms), senses).shares.clone();
        if last.as_ref() != Some(&(shares.phase, shares.why.clone())) {
            let at = time(now(ms).unix_ms, START_MS, &zone());
            let _ = writeln!(said, "{at}:{:02} {:?} {}", ms / 1000 % 60, shares.phase, shares.why);
            last = Some((shares.phase, shares.why));
        }
    };
    let last_ms = 1000 * (happens.last().map_or(0, |&(s, _)| s) + 3600);
    let mut happens = happens.iter().peekable();
    let mut ms = 0;
    while ms <= last_ms {
        while let Some((_, change)) = happens.next_if(|&&(s, _)| s * 1000 <= ms) {
            change(&mut sharing, &mut senses);
        }
        tell(&mut sharing, ms, &senses);
        let deadline = sharing.next_deadline().map_or(u64::MAX, |at| at - UP_MS);
        let next = happens.peek().map_or(u64::MAX, |&&(s, _)| s * 1000);
        ms = deadline.max(ms + 1).min(next);
    }
    said
}

fn check(when: Conditions, happens: &[(u64, Change)], expected: Expect) {
    let sharing = Sharing::new(zone(), permissive(), rules(when), None);
    expected.assert_eq(&live(sharing, happens));
}

fn permissive() -> Rules {
    rules(Conditions { power: Power::Any, metered: true, ..Conditions::default() })
}

fn boot(s: u64) -> Presence {
    Presence::AwaySince { boot_ms: UP_MS + s * 1000 }
}

#[test]
fn an_owner_who_comes_back_for_a_moment_costs_nobody_a_task() {
    let when = Conditions { idle_minutes: 10, ..Conditions::default() };
    check(
        when,
        &[
            (600, |_, senses| senses.presence = Presence::Here),
            (605, |_, senses| senses.presence = boot(605)),
            (1200, |_, senses| senses.presence = boot(1199)),
            (1210, |_, senses| senses.presence = Presence::Here),
            (1300, |_, senses| senses.presence = boot(1299)),
        ],
        expect![[r#"
            14:00:00 Open 
            14:10:00 Frozen in use since 14:10
            14:10:05 Frozen in use until 14:10, shared again at 14:10
            14:10:35 Open 
            14:20:00 Frozen in use until 14:19, shared again at 14:20
            14:20:10 Frozen in use since 14:20
            14:21:00 Closed in use since 14:20
            14:21:40 Closed in use until 14:21, shared again at 14:31
            14:31:39 Open 
        "#]],
    );
}

#[test]
fn pulling_the_plug_and_putting_it_back() {
    check(
        Conditions::default(),
        &[
            (120, |_, senses| senses.feed = Feed::Battery { charge_percent: Some(90) }),
            (130, |_, senses| senses.feed = Feed::Mains),
            (140, |_, senses| senses.feed = Feed::Battery { charge_percent: Some(90) }),
            (600, |_, senses| senses.feed = Feed::Mains),
        ],
        expect![[r#"
            14:00:00 Open 
            14:02:00 Frozen on battery since 14:02
            14:02:10 Frozen on battery until 14:02, shared again at 14:02
            14:02:20 Frozen on battery since 14:02
            14:03:00 Closed on battery since 14:02
            14:10:00 Closed on battery until 14:10, shared again at 14:11
            14:11:00 Open 
        "#]],
    );
}

#[test]
fn hours_close_and_open_at_once_and_say_when() {
    let hours = vec![Span { days: Days(1), from: 14 * 60, to: 14 * 60 + 30 }];
    let zone = "Europe/Berlin".to_owned();
    check(
        Conditions { hours, zone, until_ms: Some(START_MS + 7_200_000), ..Conditions::default() },
        &[(8000, |_, _| {})],
        expect![[r#"
            14:00:00 Open 
            14:30:00 Closed outside its hours until 2026-11-30 14:00
            16:00:00 Closed its time is over since 16:00; outside its hours until 2026-11-30 14:00
        "#]],
    );
}

#[test]
fn what_is_said_by_hand_counts_first_and_a_pause_before_a_wish() {
    let when = Conditions { enabled: false, ..Conditions::default() };
    check(
        when,
        &[
            (60, |sharing, _| {
                let until_ms = Some(START_MS + 3_600_000);
                sharing.set_by_hand(Some(ByHand { wish: Wish::Share, until_ms }));
            }),
            (120, |sharing, _| {
                let until_ms = Some(START_MS + 180_000);
                let by_hand = Some(ByHand { wish: Wish::Pause, until_ms });
                sharing.set_rules(Rules { by_hand, ..Rules::default() });
            }),
        ],
        expect![[r#"
            14:00:00 Closed sharing is switched off
            14:01:00 Open 
            14:02:00 Closed paused by hand until 14:03
            14:03:00 Open 
        "#]],
    );
}

#[test]
fn a_wish_to_share_does_not_lift_the_policy() {
    let policy = rules(Conditions { power: Power::Above(50), ..Conditions::default() });
    let by_hand = Some(ByHand { wish: Wish::Share, until_ms: None });
    let battery: Change = |_, senses| senses.feed = Feed::Battery { charge_percent: Some(50) };
    let more: Change = |_, senses| senses.feed = Feed::Battery { charge_percent: Some(54) };
    let enough: Change = |_, senses| senses.feed = Feed::Battery { charge_percent: Some(55) };
    let sharing = Sharing::new(zone(), policy, Rules::default(), by_hand);
    expect![[r#"
        14:00:00 Open 
        14:00:10 Frozen on battery with 50 % of charge or less since 14:00 (policy file)
        14:01:10 Closed on battery with 50 % of charge or less since 14:00 (policy file)
        14:01:50 Closed on battery with 50 % of charge or less until 14:01, shared again at 14:02 (policy file)
        14:02:50 Open 
    "#]]
    .assert_eq(&live(sharing, &[(10, battery), (100, more), (110, enough)]));
}

#[test]
fn programs_load_and_heat() {
    let when = Conditions {
        programs: vec!["zoom".to_owned(), "obs".to_owned()],
        others_load_percent: 40,
        temperature_c: 80,
        grace_s: 0,
        ..Conditions::default()
    };
    check(
        when,
        &[
            (10, |_, senses| senses.programs = vec!["zoom".to_owned()]),
            (20, |_, senses| senses.programs = Vec::new()),
            (100, |_, senses| senses.others_load_percent = Some(41)),
            (110, |_, senses| senses.others_load_percent = Some(31)),
            (180, |_, senses| senses.others_load_percent = Some(30)),
            (300, |_, senses| senses.temperature_c = Some(81)),
            (310, |_, senses| senses.temperature_c = Some(73)),
            (400, |_, senses| senses.temperature_c = Some(72)),
            (500, |_, senses| senses.temperature_c = None),
        ],
        expect![[r#"
            14:00:00 Open 
            14:00:10 Closed zoom runs since 14:00
            14:00:20 Closed zoom runs until 14:00, shared again at 14:01
            14:01:20 Open 
            14:01:40 Closed others use more than 40 % of its cores since 14:01
            14:03:00 Closed others use more than 40 % of its cores until 14:03, shared again at 14:04
            14:04:00 Open 
            14:05:00 Closed hotter than 80 °C since 14:05
            14:06:40 Closed hotter than 80 °C until 14:06, shared again at 14:07
            14:07:40 Open 
            14:08:20 Closed how hot it is cannot be told since 14:08
        "#]],
    );
}

#[test]
fn a_machine_that_sleeps_for_long_hands_back_as_it_wakes() {
    check(
        Conditions::default(),
        &[
            (10, |_, senses| senses.is_asleep = true),
            (20, |_, senses| senses.is_asleep = false),
            (30, |_, senses| senses.is_asleep = true),
            (2000, |_, _| {}),
            (2001, |_, senses| senses.is_asleep = false),
        ],
        expect![[r#"
            14:00:00 Open 
            14:00:10 Frozen it is being suspended
            14:00:20 Open 
            14:00:30 Frozen it is being suspended
            14:01:30 Closed it is being suspended
            14:33:21 Open 
        "#]],
    );
}

#[test]
fn rules_that_change_are_looked_at_anew() {
    check(
        Conditions::default(),
        &[
            (0, |_, senses| senses.feed = Feed::Battery { charge_percent: None }),
            (60, |sharing, _| sharing.set_rules(permissive())),
            (120, |sharing, _| sharing.set_rules(Rules::default())),
            (130, |sharing, _| {
                let zone = "Mars/Olympus".to_owned();
                let when = Conditions { zone, ..permissive().when };
                sharing.set_rules(rules(when));
            }),
        ],
        expect![[r#"
            14:00:00 Closed on battery since 14:00
            14:01:00 Open 
            14:02:00 Frozen on battery since 14:02
            14:02:10 Closed its time zone "Mars/Olympus" is not known here
        "#]],
    );
}

#[test]
fn limits_are_the_stricter_ones_of_both() {
    let limits = Limits { cores: Some(2), ..Limits::default() };
    let policy = Rules { limits, ..permissive() };
    let limits = Limits { cores: Some(4), at_once: Some(1), ..Limits::default() };
    let mut sharing = Sharing::new(zone(), policy, Rules { limits, ..permissive() }, None);
    let held = &sharing.look(now(0), &senses()).shares.limits;
    assert_eq!((held.cores, held.at_once), (Some(2), Some(1)));
}

/// What happens to a machine, for properties.
#[derive(Debug, Clone)]
enum Event {
    Here,
    Leaves,
    Feed(Feed),
    Metered(bool),
    Load(u8),
    Heat(u8),
    Zoom(bool),
    Asleep(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let battery = (0..=100u8).prop_map(|percent| Feed::Battery { charge_percent: Some(percent) });
    prop_oneof![
        Just(Event::Here),
        Just(Event::Leaves),
        prop_oneof![Just(Feed::Mains), battery].prop_map(Event::Feed),
        any::<bool>().prop_map(Event::Metered),
        (0..=100u8).prop_map(Event::Load),
        (30..100u8).prop_map(Event::Heat),
        any::<bool>().prop_map(Event::Zoom),
        any::<bool>().prop_map(Event::Asleep),
    ]
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let power =
        prop_oneof![Just(Power::Any), Just(Power::Mains), (1..100u8).prop_map(Power::Above)];
    let percent = prop_oneof![Just(100u8), 1..100u8];
    let heat = prop_oneof![Just(0u8), 30..100u8];
    let programs = prop_oneof![Just(Vec::new()), Just(vec!["zoom".to_owned()])];
    let rest = (0..3u32, any::<bool>(), 0..200u32);
    (power, percent, heat, programs, rest).prop_map(
        |(
            power,
            others_load_percent,
            temperature_c,
            programs,
            (idle_minutes, metered, grace_s),
        )| {
            Conditions {
                power,
                others_load_percent,
                temperature_c,
                programs,
                idle_minutes,
                metered,
                grace_s,
                ..Conditions::default()
            }
        },
    )
}

fn happen(event: &Event, senses: &mut Senses, boot_ms: u64) {
    match event {
        Event::Here => senses.presence = Presence::Here,
        Event::Leaves => senses.presence = Presence::AwaySince { boot_ms },
        Event::Feed(feed) => senses.feed = *feed,
        Event::Metered(is_metered) => senses.is_metered = *is_metered,
        Event::Load(percent) => senses.others_load_percent = Some(*percent),
        Event::Heat(heat) => senses.temperature_c = Some(*heat),
        Event::Zoom(runs) => {
            senses.programs = if *runs { vec!["zoom".to_owned()] } else { Vec::new() };
        }
        Event::Asleep(is_asleep) => senses.is_asleep = *is_asleep,
    }
}

/// Whether these conditions hold at this moment, whatever was before; not the owner's absence.
fn hold(when: &Conditions, senses: &Senses) -> bool {
    let feed = match (when.power, senses.feed) {
        (Power::Any, _) | (_, Feed::Mains) => true,
        (Power::Mains, Feed::Battery { .. }) => false,
        (Power::Above(least), Feed::Battery { charge_percent }) => charge_percent.unwrap() > least,
    };
    let heat = when.temperature_c == 0 || senses.temperature_c.unwrap() <= when.temperature_c;
    let load = senses.others_load_percent.unwrap() <= when.others_load_percent;
    let zoom = when.programs.is_empty() || senses.programs.is_empty();
    let here = when.idle_minutes > 0 && senses.presence == Presence::Here;
    feed && heat && load && zoom && !here && (when.metered || !senses.is_metered)
}

fn day() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let after = prop_oneof![1..2000u64, 1..100_000u64];
    proptest::collection::vec((after, event()), 1..60)
}

proptest! {
    #[test]
    fn a_machine_is_open_only_while_all_conditions_of_the_policy_hold(
        policy in conditions(), when in conditions(), day in day(), share in any::<bool>(),
    ) {
        let by_hand = share.then_some(ByHand { wish: Wish::Share, until_ms: None });
        let mut sharing = Sharing::new(zone(), rules(policy.clone()), rules(when.clone()), by_hand);
        let (mut senses, mut ms) = (senses(), 0);
        for (after_ms, event) in day {
            ms += after_ms;
            happen(&event, &mut senses, now(ms).boot_ms);
            if sharing.look(now(ms), &senses).shares.phase == Phase::Open {
                prop_assert!(hold(&policy, &senses) && !senses.is_asleep);
                prop_assert!(share || hold(&when, &senses));
                prop_assert_eq!(&sharing.verdict().shares.why, "");
            } else {
                prop_assert!(!sharing.verdict().shares.why.is_empty());
            }
        }
    }

    #[test]
    fn nothing_flaps(policy in conditions(), when in conditions(), day in day()) {
        let grace_ms = u64::from(policy.grace_s.min(when.grace_s)) * 1000;
        let mut sharing = Sharing::new(zone(), rules(policy), rules(when), None);
        let (mut senses, mut ms) = (senses(), 0);
        let mut phase = sharing.look(now(0), &senses).shares.phase;
        // When tasks were last frozen or handed back for another reason than a short sleep.
        let (mut frozen_ms, mut ended_ms, mut slept) = (0, 0, false);
        for (after_ms, event) in day {
            let event_ms = ms + after_ms;
            while ms < event_ms {
                let deadline = sharing.next_deadline().map_or(u64::MAX, |at| at.saturating_sub(UP_MS));
                ms = deadline.max(ms + 1).min(event_ms);
                if ms == event_ms {
                    happen(&event, &mut senses, now(ms).boot_ms);
                }
                let next = sharing.look(now(ms), &senses).shares.phase;
                slept |= senses.is_asleep;
                match (phase, next) {
                    (Phase::Open, Phase::Frozen | Phase::Closed) => {
                        (frozen_ms, slept) = (ms, senses.is_asleep);
                        ended_ms = ms;
                    }
                    (Phase::Frozen, Phase::Closed) => {
                        prop_assert!(ms >= frozen_ms + grace_ms);
                    }
                    (Phase::Frozen, Phase::Open) => {
                        prop_assert!(slept || ms >= ended_ms + 10_000);
                        prop_assert!(ms <= frozen_ms + grace_ms);
                    }
                    (Phase::Closed, Phase::Open) => {
                        prop_assert!(slept || ended_ms == 0 || ms >= ended_ms + HOLD_MS);
                    }
                    (Phase::Closed, Phase::Frozen) => prop_assert!(false, "nothing to freeze"),
                    (Phase::Open, Phase::Open)
                    | (Phase::Frozen, Phase::Frozen)
                    | (Phase::Closed, Phase::Closed) => {}
                }
                phase = next;
            }
        }
    }

    #[test]
    fn what_is_looked_at_twice_is_the_same(when in conditions(), day in day()) {
        let mut sharing = Sharing::new(zone(), permissive(), rules(when), None);
        let (mut senses, mut ms) = (senses(), 0);
        for (after_ms, event) in day {
            ms += after_ms;
            happen(&event, &mut senses, now(ms).boot_ms);
            let verdict = sharing.look(now(ms), &senses).clone();
            prop_assert_eq!(&verdict, sharing.look(now(ms), &senses));
            prop_assert!(sharing.next_deadline().is_none_or(|at| at > now(ms).boot_ms));
        }
    }
}
