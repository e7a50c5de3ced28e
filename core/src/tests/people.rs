//! Who may register, and who may do what only operators may.

use campusgrid_protocol::id::{UserId, VoucherId};
use expect_test::expect;

use crate::input::{NewApiToken, Registration, Request, VoucherWish};
use crate::policy::{Admission, Policy};
use crate::tests::world::{ADA, BOB, World, policy};
use crate::user::{LOCAL, Role, Scopes};
use crate::voucher::{Purpose, Shown};

const SECRET: [u8; 32] = [9; 32];

fn registration(name: &str, invitation: Option<u64>) -> Registration {
    let shown = |id| Shown { id: VoucherId(id), secret_hash: SECRET };
    Registration {
        name: name.to_owned(),
        email: None,
        password_hash: "argon2".to_owned(),
        local: false,
        invitation: invitation.map(shown),
    }
}

fn local(name: &str) -> Registration {
    Registration { local: true, ..registration(name, None) }
}

fn register(world: &mut World, registration: Registration) {
    world.ask(Request::Register(registration));
}

fn set_role(world: &mut World, by: UserId, user: UserId, role: Role) {
    world.ask(Request::SetRole { by, user, role });
}

/// Nobody has registered, and few may.
fn strict(admission: Admission) -> World {
    World::empty(Policy { admission, ..policy() })
}

#[test]
fn a_closed_grid_lets_in_the_first_from_its_own_machine() {
    let mut world = strict(Admission::Closed);
    register(&mut world, registration("eve", None));
    register(&mut world, local("root"));
    register(&mut world, local("root2"));
    expect![[r#"
        refused: registration is closed
        grant:1: mint -> ada 100
        user 1 is root (Operator)
        refused: registration is closed
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn an_invitation_is_used_by_those_who_get_in() {
    let mut world = strict(Admission::Invitation);
    register(&mut world, local("ada"));
    let until = world.now.plus_ms(60_000);
    for purpose in [Purpose::Invitation { by: ADA }, Purpose::Join { owner: ADA }] {
        let wish = VoucherWish { by: ADA, purpose, secret_hash: SECRET, uses: 2, until };
        world.ask(Request::MakeVoucher(wish));
    }
    world.log.clear();
    world.note("nothing, a token to join, nonsense");
    register(&mut world, registration("eve", None));
    register(&mut world, registration("eve", Some(2)));
    register(&mut world, registration("eve", Some(7)));
    world.note("who is not invited learns nothing of names");
    register(&mut world, registration("ada", None));
    register(&mut world, registration("Ada", Some(1)));
    world.note("two may come");
    for name in ["bob", "eve", "zoe"] {
        register(&mut world, registration(name, Some(1)));
    }
    expect![[r#"
        # nothing, a token to join, nonsense
        refused: registration is by invitation: ask an operator for one
        refused: this token or invitation was used up, has ended or was revoked, or never was
        refused: this token or invitation was used up, has ended or was revoked, or never was
        # who is not invited learns nothing of names
        refused: registration is by invitation: ask an operator for one
        refused: this name is taken
        # two may come
        voucher 1 has 1 uses left
        grant:2: mint -> bob 100
        user 2 is bob (Member)
        voucher 1 is over
        grant:3: mint -> eve 100
        user 3 is eve (Member)
        refused: this token or invitation was used up, has ended or was revoked, or never was
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn roles_are_given_by_operators_and_the_last_one_stays() {
    let mut world = World::new();
    world.note("nobody makes themselves an operator");
    set_role(&mut world, ADA, ADA, Role::Operator);
    set_role(&mut world, UserId(99), ADA, Role::Operator);
    world.note("the machine's own keyboard may");
    set_role(&mut world, LOCAL, ADA, Role::Operator);
    set_role(&mut world, LOCAL, UserId(99), Role::Operator);
    set_role(&mut world, LOCAL, LOCAL, Role::Operator);
    world.note("the last one stays, even so");
    set_role(&mut world, ADA, ADA, Role::Member);
    set_role(&mut world, LOCAL, ADA, Role::Member);
    set_role(&mut world, ADA, BOB, Role::Operator);
    set_role(&mut world, ADA, BOB, Role::Operator);
    world.restart();
    set_role(&mut world, BOB, ADA, Role::Member);
    set_role(&mut world, ADA, BOB, Role::Member);
    expect![[r#"
        # nobody makes themselves an operator
        refused: only an operator may do this
        refused: only an operator may do this
        # the machine's own keyboard may
        ada is Operator by the machine's word
        done
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
        # the last one stays, even so
        refused: the last operator stays one: make somebody else an operator first
        refused: the last operator stays one: make somebody else an operator first
        bob is Operator by ada's word
        done
        done
        ada is Member by bob's word
        done
        refused: only an operator may do this
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn invitations_end_with_the_role_of_whoever_made_them() {
    let mut world = World::new();
    for user in [ADA, BOB] {
        set_role(&mut world, LOCAL, user, Role::Operator);
        for purpose in [Purpose::Invitation { by: user }, Purpose::Join { owner: user }] {
            let until = world.now.plus_ms(60_000);
            let wish = VoucherWish { by: user, purpose, secret_hash: SECRET, uses: 9, until };
            world.ask(Request::MakeVoucher(wish));
        }
    }
    world.log.clear();
    set_role(&mut world, ADA, BOB, Role::Member);
    assert_eq!(world.log, "bob is Member by ada's word\nvoucher 3 is over\ndone\n");
}

/// A row that refers to nobody would end the manager at its commit.
#[test]
fn nobody_has_no_password_and_no_tokens() {
    let mut world = World::new();
    let token = |user| NewApiToken {
        user,
        name: "ci".to_owned(),
        token_hash: [1; 32],
        scopes: Scopes::default(),
        until: crate::time::Timestamp(u64::MAX),
    };
    for user in [ADA, LOCAL, UserId(99)] {
        world.ask(Request::OpenApiToken(token(user)));
        let password_hash = "new".to_owned();
        world.ask(Request::ChangePassword { user, password_hash, but: None });
    }
    expect![[r#"
        done
        done
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
        refused: there is no such thing, or it is not yours
    "#]]
    .assert_eq(&world.log);
}
