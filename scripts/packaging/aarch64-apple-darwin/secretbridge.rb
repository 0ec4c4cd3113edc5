class Secretbridge < Formula
  desc "Keeps PowerShell SecretManagement vaults open behind a fast and safe front"
  homepage "@HOME@"
  version "@VERSION@"
  url "@URL@"
  sha256 "@SHA256@"
  license "MIT"
  depends_on arch: :arm64

  def install
    bin.install "secretbridge"
    man1.install Dir["man/*.1"]
    bash_completion.install "completions/secretbridge.bash" => "secretbridge"
    zsh_completion.install "completions/_secretbridge"
    fish_completion.install "completions/secretbridge.fish"
  end

  service do
    run [opt_bin/"secretbridge", "serve"]
    keep_alive successful_exit: false
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/secretbridge --version")
  end
end
