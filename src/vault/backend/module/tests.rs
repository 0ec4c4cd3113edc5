//! Which errors ask for an unlock or a login.

use super::judge::needs_login;
use crate::protocol::{Fault, InnerFault};

fn fault(id: &str, kind: &str, category: &str, inner: &str) -> Fault {
    let inner = vec![InnerFault { kind: inner.into(), message: String::new() }];
    Fault { id: id.into(), kind: kind.into(), category: category.into(), inner, ..Fault::default() }
}

#[test]
fn a_login_that_is_over_is_known_by_kinds_and_categories() {
    let yes = [
        fault(
            "GetSecretInvalidOperation",
            "System.InvalidOperationException",
            "",
            "Azure.Identity.AuthenticationFailedException",
        ),
        fault("GetSecretInvalidOperation", "", "", "System.UnauthorizedAccessException"),
        fault("Any", "", "AuthenticationError", ""),
        fault("Microsoft.PowerShell.SecretManagement.PasswordRequiredException", "", "", ""),
    ];
    for fault in yes {
        assert!(needs_login(&fault), "{fault:?}");
        let outer = Fault { id: "Outer".into(), more: vec![fault], ..Fault::default() };
        assert!(needs_login(&outer));
    }
    assert!(!needs_login(&fault(
        "GetSecretInvalidOperation",
        "",
        "InvalidOperation",
        "System.IO.IOException"
    )));
}
