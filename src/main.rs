//! The program: arguments in, exit code out. Everything else is in the library.

/// A request takes memory on one thread and the audit writer gives it back on another, which system allocators are slow
/// at, that of static Linux builds most of all.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // Not an `ExitCode`, which has one byte: on Windows the code of a program that `exec` ran may have four.
    std::process::exit(secretbridge::run(std::env::args_os()).code());
}
