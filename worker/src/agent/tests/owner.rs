//! What the machine's owner does to what runs on it.

use expect_test::expect;

use super::check;

#[test]
fn what_runs_stands_still_before_the_manager_hears_of_it_and_goes_on() {
    check(
        "1 start 1.0 1
         2 started 1.0
         3 frozen
         3 frozen
         4 start 2.0 1
         5 open",
        expect![[r#"
              1 run 1.0
              2 send started 1.0
              3 freeze
              3 send frozen in use
              5 thaw
              5 send open
              5 run 2.0
            then 1.0 2.0; next at 10000
        "#]],
    );
}

#[test]
fn what_does_not_go_on_is_handed_back_with_its_checkpoint() {
    check(
        "1 start 1.0 4
         1 start 2.0 1
         3 frozen
         4 closed
         5 start 3.0 1
         6 finished-with-checkpoint 1.0
         7 uploaded 1.0
         8 stored 1.0
         9 finished 2.0
         9 finished 3.0",
        expect![[r#"
              1 run 1.0
              3 freeze
              3 send frozen in use
              4 hand 1.0 back within 20 s
              4 spool 2.0 leaving
              4 thaw
              4 send closed in use
              5 spool 3.0 leaving
              6 upload 1.0 with a checkpoint, 1 blobs named
              7 send ended 1.0 leaving
              8 unspool 1.0
              9 send ended 2.0 succeeded
              9 send ended 3.0 succeeded
            then 2.0 3.0; next at 10000
        "#]],
    );
}

#[test]
fn a_machine_is_closed_without_a_pause_when_its_owner_says_so() {
    check(
        "1 start 1.0 1
         2 closed
         3 open
         4 start 2.0 1",
        expect![[r#"
              1 run 1.0
              2 hand 1.0 back within 20 s
              2 send closed in use
              3 send open
              4 run 2.0
            then 1.0 2.0; next at 10000
        "#]],
    );
}

#[test]
fn a_checkpoint_is_told_in_each_session() {
    check(
        "1 start 1.0 1
         2 started 1.0
         3 saved 1.0
         4 disconnected
         5 saved 1.0
         6 connected
         6 welcome
         7 cancel 1.0
         8 saved 1.0",
        expect![[r#"
              1 run 1.0
              2 send started 1.0
              3 send checkpoint of 1.0 at 5000 ms
              6 send join 1.0
              6 works for ada
              6 new rules
              6 earned 5
              6 send started 1.0
              6 send checkpoint of 1.0 at 5000 ms
              7 stop 1.0, report cancelled
            then 1.0; next at 6000
        "#]],
    );
}

#[test]
fn the_owner_takes_one_task_off_the_machine() {
    check(
        "1 start 1.0 1
         1 start 2.0 1
         2 stop-here 1.0
         3 stop-here 3.0",
        expect![[r#"
              1 run 1.0
              1 run 2.0
              2 hand 1.0 back within 20 s
            then 1.0 2.0; next at 10000
        "#]],
    );
}

#[test]
fn no_more_runs_than_the_owner_lends() {
    check(
        "1 at-once 1
         2 start 1.0 1
         3 start 2.0 1
         4 finished 1.0
         5 cores 1
         6 percent 50
         7 start 3.0 1",
        expect![[r#"
              1 send open
              2 run 1.0
              4 send ended 1.0 succeeded
              4 run 2.0
              5 send open
              6 send open
              7 run 3.0 at 50 %
            then 1.0 2.0 3.0; next at 9000
        "#]],
    );
}

#[test]
fn what_the_owner_does_not_lend_comes_back_and_soon_after_a_change_without_a_reproach() {
    for rule in ["cores 0", "at-once 0", "only mine", "only python", "only short"] {
        let script = format!(
            "100 {rule}
             101 start 1.0 1
             200 start 2.0 1"
        );
        let said = super::play(&format!("0 connected\n0 welcome\n{script}"));
        let spooled: Vec<&str> =
            said.lines().filter(|line| line.contains(" spool ")).map(str::trim).collect();
        assert_eq!(spooled[0], "101 spool 1.0 leaving", "{rule}");
        assert!(spooled[1].starts_with("200 spool 2.0 sandbox"), "{rule}: {spooled:?}");
    }
}

#[test]
fn the_owners_own_jobs_and_those_of_the_right_kind_run() {
    check(
        "1 only mine
         2 start-of 1.0 ada
         3 only python
         4 start-in-image 2.0",
        expect![[r#"
              1 send open
              2 run 1.0
              3 send open
              4 spool 2.0 leaving
            then 1.0 2.0; next at 10000
        "#]],
    );
}

#[test]
fn rules_and_earnings_are_passed_on() {
    check(
        "1 rules
         2 earned 17",
        expect![[r#"
              1 new rules
              2 earned 17
            then; next at 10000
        "#]],
    );
}

#[test]
fn a_refused_file_of_a_checkpoint_costs_the_checkpoint_and_not_the_end() {
    check(
        "1 start 1.0 1
         2 closed
         3 finished-with-checkpoint 1.0
         4 upload-refused 1.0 too-long",
        expect![[r#"
              1 run 1.0
              2 hand 1.0 back within 20 s
              2 send closed in use
              3 upload 1.0 with a checkpoint, 1 blobs named
              4 send ended 1.0 leaving, the manager did not take what the task saved to go on from: too-long
            then 1.0; next at 9000
        "#]],
    );
}
