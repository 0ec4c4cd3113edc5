//! The program: arguments in, exit code out. Everything else is in the library.

fn main() {
    // Not an `ExitCode`, which has one byte: on Windows the code of a program that `exec` ran may have four.
    std::process::exit(secretbridge::run(std::env::args_os()).code());
}
