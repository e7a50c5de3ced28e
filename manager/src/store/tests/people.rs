//! Logins, API tokens, vouchers and roles on real SQLite.

use campusgrid_core::input::{
    EnrolmentProof, NewApiToken, NewLogin, Registration, Request, VoucherWish,
};
use campusgrid_core::time::Timestamp;
use campusgrid_core::user::{LOCAL, Role, Scopes};
use campusgrid_core::voucher::{Purpose, Shown};
use campusgrid_protocol::id::{ApiTokenId, LoginId, UserId, VoucherId, WorkerId};
use expect_test::expect;

use super::{ask, enrolment, one_job};
use crate::store::numbering::Numberings;
use crate::store::{Store, read};

pub(super) fn login(token_hash: [u8; 32], until: Timestamp) -> NewLogin {
    NewLogin { user: UserId(1), token_hash, until, from: "Firefox at home".to_owned() }
}

#[test]
fn logins_are_listed_revoked_and_bounded() {
    let (mut grid, mut store) = one_job();
    let now = Timestamp(100);
    for number in 0..105 {
        let until = Timestamp(if number == 104 { 50 } else { 1000 });
        ask(&mut grid, &mut store, Request::OpenLogin(login([number; 32], until)));
    }
    let used = vec![(LoginId(7), Timestamp(40)), (LoginId(999), Timestamp(40))];
    ask(&mut grid, &mut store, Request::Used { logins: used, tokens: Vec::new() });
    for (user, login) in [(UserId(2), LoginId(10)), (UserId(1), LoginId(11))] {
        ask(&mut grid, &mut store, Request::RevokeLogin { user, login });
    }
    let reader = super::reader(store);
    let logins = reader.logins_of(UserId(1), now, Some(&[7; 32])).unwrap();
    let ids: Vec<u64> = logins.iter().map(|login| login.id.0).collect();
    let kept: Vec<u64> = (6..=104).rev().filter(|id| *id != 11).collect();
    assert_eq!(ids, kept, "the oldest five, the one revoked and the one that is over are gone");
    let seven = logins.iter().find(|login| login.id == LoginId(7)).unwrap();
    assert_eq!(
        (seven.used_at, seven.opened_at, seven.is_current),
        (Timestamp(40), Timestamp(3), false)
    );
    let current: Vec<_> = logins.iter().filter(|login| login.is_current).collect();
    assert_eq!(
        (current.len(), current[0].id, &*current[0].from),
        (1, LoginId(8), "Firefox at home")
    );
    let (user, id) = reader.login(&[7; 32], now).unwrap().unwrap();
    assert_eq!((&*user.name, id), ("ada", LoginId(8)));
    assert!(reader.login(&[104; 32], now).unwrap().is_none(), "it is over");
    assert!(reader.logins_of(UserId(2), now, None).unwrap().is_empty());

    let mut store = Store { connection: reader.connection, numberings: Numberings::default() };
    let password_hash = "y".to_owned();
    let change = Request::ChangePassword { user: UserId(1), password_hash, but: Some([7; 32]) };
    ask(&mut grid, &mut store, change);
    for (from, to) in [("x", "old"), ("y", "rehashed")] {
        let (from, to) = (from.to_owned(), to.to_owned());
        ask(&mut grid, &mut store, Request::Rehash { user: UserId(1), from, to });
    }
    let reader = super::reader(store);
    assert_eq!(reader.password_of(UserId(1)).unwrap().as_deref(), Some("rehashed"));
    assert_eq!(reader.password("ADA").unwrap().unwrap().1, "rehashed");
    assert_eq!(reader.logins_of(UserId(1), now, None).unwrap().len(), 1);

    let mut store = Store { connection: reader.connection, numberings: Numberings::default() };
    ask(&mut grid, &mut store, Request::RevokeLogins { user: UserId(1), but: None });
    let reader = super::reader(store);
    assert!(reader.login(&[7; 32], now).unwrap().is_none());
}

#[test]
fn api_tokens_are_kept_with_what_they_may_and_bounded() {
    let (mut grid, mut store) = one_job();
    let scopes = Scopes { read: true, own: true, ..Scopes::default() };
    for number in 0..52 {
        let token = NewApiToken {
            user: UserId(1),
            name: format!("ci {number}"),
            token_hash: [number; 32],
            scopes,
            until: Timestamp(1000),
        };
        ask(&mut grid, &mut store, Request::OpenApiToken(token));
    }
    for user in [UserId(2), UserId(1)] {
        ask(&mut grid, &mut store, Request::RevokeApiToken { user, token: ApiTokenId(52) });
    }
    let used = vec![(ApiTokenId(51), Timestamp(40))];
    ask(&mut grid, &mut store, Request::Used { logins: Vec::new(), tokens: used });
    let reader = super::reader(store);
    let tokens = reader.api_tokens_of(UserId(1)).unwrap();
    assert_eq!(tokens.len(), 49);
    assert_eq!((tokens[0].id, &*tokens[0].name), (ApiTokenId(51), "ci 50"));
    assert_eq!((tokens[0].scopes, tokens[0].used_at), (scopes, Some(Timestamp(40))));
    assert_eq!((tokens[1].used_at, tokens[1].made_at), (None, Timestamp(3)));
    let (user, may, id) = reader.api_token(&[50; 32], Timestamp(999)).unwrap().unwrap();
    assert_eq!((user.id, may, id), (UserId(1), scopes, ApiTokenId(51)));
    assert!(reader.api_token(&[50; 32], Timestamp(1000)).unwrap().is_none(), "it is over");
    assert!(
        reader.api_token(&[0; 32], Timestamp(5)).unwrap().is_none(),
        "newer ones pushed it out"
    );
    assert!(reader.api_token(&[51; 32], Timestamp(5)).unwrap().is_none(), "it was revoked");
}

#[test]
fn vouchers_roles_and_machines_are_kept_and_shown() {
    let (mut grid, mut store) = one_job();
    let registration = Registration {
        name: "bob".to_owned(),
        email: Some("b@example.org".to_owned()),
        password_hash: "x".to_owned(),
        local: false,
        invitation: None,
    };
    ask(&mut grid, &mut store, Request::Register(registration));
    let (ada, bob) = (UserId(1), UserId(2));
    for (by, purpose, uses) in [
        (ada, Purpose::Join { owner: bob }, 2),
        (ada, Purpose::Invitation { by: ada }, 5),
        (bob, Purpose::Join { owner: bob }, 1),
        (bob, Purpose::Join { owner: bob }, 1),
    ] {
        let (secret_hash, until) = ([4; 32], Timestamp(1000));
        let wish = VoucherWish { by, purpose, secret_hash, uses, until };
        ask(&mut grid, &mut store, Request::MakeVoucher(wish));
    }
    for voucher in [1, 3] {
        let proof = EnrolmentProof::Token(Shown { id: VoucherId(voucher), secret_hash: [4; 32] });
        let key_hash = [u8::try_from(voucher).unwrap(); 32];
        ask(&mut grid, &mut store, Request::Enrol(enrolment(key_hash, proof)));
    }
    ask(&mut grid, &mut store, Request::RevokeVoucher { user: bob, voucher: VoucherId(4) });
    ask(&mut grid, &mut store, Request::RemoveWorker { user: bob, worker: WorkerId(2) });
    ask(&mut grid, &mut store, Request::SetRole { by: LOCAL, user: bob, role: Role::Operator });
    ask(&mut grid, &mut store, Request::SetRole { by: bob, user: ada, role: Role::Member });
    assert_eq!(store.load().unwrap().last_voucher, VoucherId(4), "no number comes twice");

    let reader = super::reader(store);
    let viewer = |user, operator| read::Viewer { user, operator };
    let of = |viewer, now| {
        let vouchers = reader.vouchers(viewer, Timestamp(now)).unwrap();
        vouchers.iter().map(|one| (one.id.0, one.uses_left)).collect::<Vec<_>>()
    };
    assert_eq!(of(viewer(bob, false), 999), [(1, 1)]);
    assert_eq!(of(viewer(ada, false), 999), [], "no operator, no invitations");
    assert_eq!(of(viewer(bob, true), 999), [(1, 1)]);
    assert_eq!(of(viewer(bob, true), 1000), []);
    assert!(reader.is_live_key(&[1; 32]).unwrap());
    assert!(!reader.is_live_key(&[3; 32]).unwrap(), "it was removed");
    assert!(!reader.is_live_key(&[9; 32]).unwrap());
    let users = reader.users(UserId(0), 10).unwrap();
    assert_eq!(users.iter().map(|user| user.workers).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(users[1].email.as_deref(), Some("b@example.org"));
    assert_eq!(reader.users(ada, 10).unwrap(), users[1..]);
    assert_eq!(reader.operators().unwrap(), [users[1].user.clone()]);
    assert_eq!(reader.user_by_name("BOB").unwrap().as_ref(), Some(&users[1].user));
    assert_eq!(reader.user_by_name("zoe").unwrap(), None);
    let told = "SELECT group_concat(kind || ': ' || message, '\n') FROM event
        WHERE kind LIKE 'voucher%' OR kind LIKE 'user.role' OR kind LIKE 'worker%'";
    let told: String = reader.connection.query_row(told, [], |row| row.get(0)).unwrap();
    expect![[r#"
        voucher.made: token 1 lets 2 machines join as user 2's
        voucher.made: invitation 2 of user 1 lets 5 people register
        voucher.made: token 3 lets 1 machines join as user 2's
        voucher.made: token 4 lets 1 machines join as user 2's
        worker.approved: worker laptop joined as user 2's
        worker.approved: worker laptop joined as user 2's
        voucher.over: token or invitation 3 is over
        voucher.over: token or invitation 4 is over
        worker.removed: worker 2 removed
        user.role: user 2 is operator now, at the manager's own machine
        user.role: user 1 is member now, by user 2
        voucher.over: token or invitation 2 is over"#]]
    .assert_eq(&told);
}
