@{
    RootModule           = 'Pode.psm1'
    ModuleVersion        = '2.14.0'
    GUID                 = '6f0d3a7e-54c7-4c0b-9a36-0c8f2f4f1d52'
    Author               = 'secretbridge'
    CompanyName          = 'secretbridge'
    Description          = 'Pode''s command names over secretbridge: the Secrets feature, and what of the rest it needs. Not Pode itself; docs/pode.md says what differs.'
    PowerShellVersion    = '7.4'
    CompatiblePSEditions = @('Core')
    FunctionsToExport    = @('*-Pode*', 'Invoke-BridgeScript', 'Resolve-BridgeScript', 'Read-BridgeFile', 'Update-BridgeVariable', 'Step-BridgeVariable')
    CmdletsToExport      = @('*-Pode*')
    VariablesToExport    = @()
    AliasesToExport      = @('*-Pode*')
}
