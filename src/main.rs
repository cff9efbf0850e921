//! The program: all of it is [`gpu_makemore::cli`].

fn main() -> std::process::ExitCode {
    gpu_makemore::cli::main()
}
