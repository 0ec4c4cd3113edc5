@{
    RootModule           = 'SecretBridge.Extension.psm1'
    ModuleVersion        = '0.1.0'
    GUID                 = '0c6d3d0b-9d2b-4f37-8a35-5f0d7e2b9a11'
    Author               = 'secretbridge contributors'
    CompanyName          = 'secretbridge'
    Copyright            = '(c) secretbridge contributors. MIT License.'
    Description          = 'The functions that SecretManagement calls.'
    PowerShellVersion    = '7.4'
    CompatiblePSEditions = @('Core')
    FunctionsToExport    = @(
        'Get-Secret', 'Set-Secret', 'Remove-Secret', 'Get-SecretInfo', 'Set-SecretInfo', 'Test-SecretVault',
        'Unlock-SecretVault'
    )
    CmdletsToExport      = @()
    VariablesToExport    = @()
    AliasesToExport      = @()
}
