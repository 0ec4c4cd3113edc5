@{
    RootModule           = 'SecretBridge.psm1'
    ModuleVersion        = '0.1.0'
    GUID                 = '5b0a7f0e-6d0c-4f5a-9a5e-6f2f3c1d7b42'
    Author               = 'secretbridge contributors'
    CompanyName          = 'secretbridge'
    Copyright            = '(c) secretbridge contributors. MIT License.'
    Description          = 'A SecretManagement extension vault in front of a running secretbridge server: Get-Secret, Set-Secret, Get-SecretInfo, Remove-Secret, Set-SecretInfo, Test-SecretVault and Unlock-SecretVault go through it, with all five types and metadata, from any number of processes at once.'
    PowerShellVersion    = '7.4'
    CompatiblePSEditions = @('Core')
    NestedModules        = @('./SecretBridge.Extension')
    FunctionsToExport    = @('Register-SecretBridgeVault')
    CmdletsToExport      = @()
    VariablesToExport    = @()
    AliasesToExport      = @()
    FileList             = @(
        'SecretBridge.psd1', 'SecretBridge.psm1',
        'SecretBridge.Extension/SecretBridge.Extension.psd1', 'SecretBridge.Extension/SecretBridge.Extension.psm1',
        'SecretBridge.Extension/Platform.cs', 'SecretBridge.Extension/SocketDoor.cs'
    )
    PrivateData          = @{
        PSData = @{
            Tags       = @('SecretManagement', 'Secrets', 'Vault', 'PSEdition_Core', 'Windows', 'Linux', 'MacOS')
            LicenseUri = 'https://opensource.org/license/mit'
        }
    }
}
