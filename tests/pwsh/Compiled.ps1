# The worker as a server has it: its files in a folder of their own, with the compiled part beside them.

Set-StrictMode -Version Latest

# Warnings of the compiler are errors here. Gives the folder.
function Initialize-CompiledWorker {
    $source = [System.IO.Path]::GetFullPath([System.IO.Path]::Combine($PSScriptRoot, '..', '..', 'src', 'pwsh'))
    $folder = [System.IO.Directory]::CreateTempSubdirectory('secretbridge-worker-').FullName
    $null = [System.IO.Directory]::CreateDirectory("$folder/Pode")
    foreach ($file in [System.IO.Directory]::GetFiles($source, '*', 'AllDirectories')) {
        if ($file.EndsWith('.rs', [StringComparison]::Ordinal)) { continue }
        [System.IO.File]::Copy($file, [System.IO.Path]::Combine($folder, [System.IO.Path]::GetRelativePath($source, $file)))
    }
    $null = & "$folder/compile.ps1" -Output "$folder/SecretBridge.dll" -Strict
    $null = [System.Reflection.Assembly]::LoadFrom("$folder/SecretBridge.dll")
    $folder
}
