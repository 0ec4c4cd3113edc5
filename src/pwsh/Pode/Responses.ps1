# What only PowerShell's own cmdlets can do for the compiled responses (WriteResponses.cs, MarkupResponses.cs).

Set-StrictMode -Version Latest

[SecretBridge.Pode.ResponseJson]::Convert = { param($Value, $Depth, $Compress) ConvertTo-Json -InputObject $Value -Depth $Depth -Compress:$Compress -WarningAction SilentlyContinue }
[SecretBridge.Pode.WriteResponseCommand]::Root = { $script:Bridge.Root }
[SecretBridge.Pode.Body]::ReadCsv = { param($Text) , @($Text | ConvertFrom-Csv) }
[SecretBridge.Pode.WritePodeCsvResponseCommand]::Rows = { param($Value) (ConvertTo-Row $Value | ConvertTo-Csv -NoTypeInformation) -join [Environment]::NewLine }

function ConvertTo-Row($Value) {
    foreach ($item in $Value) {
        if ($item -is [System.Collections.IDictionary]) { [pscustomobject]$item } else { $item }
    }
}
