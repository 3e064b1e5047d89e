//! Standpipe's one program: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    standpipe::cli::main()
}
