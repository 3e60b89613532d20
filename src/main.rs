//! The `butler` binary. All of it is in the library.

fn main() -> std::process::ExitCode {
    butler::cli::main(std::env::args_os().skip(1))
}
