//! The part of every help about how a command ends.

pub(super) const EXIT_CODES: &str = "\
EXIT CODES:
   0  done, or stopped by a signal
   1  failed while running; a message says why
  64  the command line or the configuration is wrong
  66  there is no such secret, vault, mount or member
  68  the server cannot be reached, or none runs where one is needed
  69  no pwsh 7.4 or later was found, and the plan needs one
  75  the vault is locked or busy; another try may do it
  77  refused: the token, the rules of the server, or what the vault can hold";
