//! What machines offer and jobs require by name.

use campusgrid_protocol::resource::Isolation;
use expect_test::{Expect, expect};

use crate::tests::world::{ADA, BOB, Machine, Wish, World, job, worker};

fn check(workers: &[Machine], jobs: &[Wish], expected: &Expect) {
    let mut world = World::new();
    for (number, machine) in (1..).zip(workers) {
        world.own(number, machine);
    }
    for wish in jobs {
        world.submit(wish);
    }
    let placed = |line: &&str| line.contains(" -> worker-");
    let mut words: String =
        world.log.lines().filter(placed).map(|line| format!("{line}\n")).collect();
    world.log.clear();
    world.note_waiting();
    words.push_str(&world.log);
    expected.assert_eq(&words);
}

#[test]
fn a_job_goes_where_all_that_it_requires_is_offered() {
    check(
        &[
            worker(1, 1),
            worker(2, 2).offers(&["R", "python3.11"]),
            worker(3, 3).offers(&["image:gcc*", "R"]),
            worker(4, 4).offers(&["julia"]),
        ],
        &[
            job(1, 1).requires(&["R"]),
            job(1, 1).requires(&["R", "image:gcc@sha256:00"]),
            job(1, 1).requires(&["julia"]),
            job(1, 1),
            job(1, 1).requires(&["R", "julia"]),
        ],
        &expect![[r#"
            1.0#1 -> worker-2
            2.0#1 -> worker-3
            3.0#1 -> worker-4
            4.0#1 -> worker-1
            waits: no single worker offers R and julia together
        "#]],
    );
}

#[test]
fn nobody_is_spared_what_the_job_requires() {
    let own = worker(1, 1).offers(&["R"]).confined(Isolation::None).of(ADA);
    let job = || job(1, 1).confined(Isolation::None);
    check(
        &[own],
        &[job().by(ADA).requires(&["julia"]), job().by(BOB).requires(&["R"])],
        &expect![[r#"
            waits: no connected worker offers julia; it starts as soon as one that does connects
            waits: no worker that is large enough and offers R confines what it runs, so each runs its owner's jobs only; it starts as soon as another connects
        "#]],
    );
}

#[test]
fn a_level_is_as_good_as_those_above_it() {
    let levels = [Isolation::None, Isolation::Restricted, Isolation::Docker, Isolation::Full];
    for (place, offered) in levels.into_iter().enumerate() {
        for (least, asked) in levels.into_iter().enumerate() {
            let mut world = World::new();
            world.own(1, &worker(1, 1).confined(offered).of(ADA));
            world.submit(&job(1, 1).confined(asked));
            let runs = world.log.contains("1.0#1 -> worker-1");
            assert_eq!(runs, place >= least, "{asked:?} on {offered:?}");
        }
    }
}

#[test]
fn what_nobody_offers_is_said_with_what_is_like_it() {
    let python = |minor: u32| worker(1, 1).offers(&["R", &format!("python3.{minor}")]);
    check(
        &[python(11), python(11), python(12), python(9), python(10), worker(1, 1)],
        &[job(1, 1).requires(&["R", "python3.13"]), job(1, 1).by(BOB).requires(&["octave"])],
        &expect![[r#"
            waits: no connected worker offers python3.13; 2 workers offer python3.11, 1 worker offers python3.10, 1 worker offers python3.12
            waits: no connected worker offers octave; it starts as soon as one that does connects
        "#]],
    );
    let image = "image:gcc@sha256:00";
    check(
        &[worker(1, 1).offers(&["image:default"])],
        &[job(1, 1).requires(&[image])],
        &expect![[r#"
            waits: needs image gcc@sha256:00, which no connected worker has or may fetch; ask an owner to allow it
        "#]],
    );
    check(
        &[worker(1, 1)],
        &[job(1, 1).requires(&["image:default"])],
        &expect![[r#"
        waits: needs the default image, which no connected worker has; an owner makes it with: campusgrid-worker build-image
    "#]],
    );
}

#[test]
fn what_no_single_machine_has_together_is_said() {
    check(
        &[worker(1, 1).offers(&["R"]), worker(2, 2).offers(&["julia"])],
        &[job(1, 1).requires(&["R", "julia"]), job(2, 2).by(BOB).requires(&["R"])],
        &expect![[r#"
            waits: no single worker offers R and julia together
            waits: no worker that offers R is large enough; ask for less
        "#]],
    );
    check(
        &[
            worker(1, 1).offers(&["R"]).confined(Isolation::Docker),
            worker(1, 1).confined(Isolation::Full),
        ],
        &[job(1, 1).requires(&["R"])],
        &expect![[r#"
            waits: no worker that is large enough and offers R confines at level "full"; submit it with isolation "docker" if that will do
        "#]],
    );
    check(
        &[worker(1, 1).confined(Isolation::None)],
        &[job(1, 1).confined(Isolation::Docker)],
        &expect![[r#"
            waits: no worker that is large enough confines what it runs, so each runs its owner's jobs only; it starts as soon as another connects
        "#]],
    );
}

#[test]
fn a_machine_that_comes_back_offering_more_takes_what_waits() {
    let mut world = World::new();
    world.own(1, &worker(1, 1));
    world.submit(&job(1, 1).requires(&["R"]));
    world.log.clear();
    world.note("it has R now");
    let more = worker(1, 1).offers(&["R"]);
    world.join(2, crate::tests::world::join(1, &more, Vec::new()));
    expect![[r#"
        # it has R now
        1.0#1 -> worker-1
        to session 2: welcome, worker-1 of bob
        session 1 ends for good: another process uses this machine's identity, as if its directory had been copied, and its newer connection has taken over: on the copy run campusgrid-worker forget, the original is just started again
    "#]]
    .assert_eq(&world.log);
}
