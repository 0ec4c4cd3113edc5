# Objects that the script's blocks share, as the planning script names them (Shared.cs has them).

Set-StrictMode -Version Latest

[SecretBridge.Pode.Shared]::Clear()

# Gives an object a number, which is the same for all workers.
function Add-SharedObject($Object, $Found) {
    try { [SecretBridge.Pode.Shared]::Add($Object, $Found) }
    catch { throw ([SecretBridge.Faults]::Thrown($_)) }
}

# What travels of a value that blocks hold for good (`$using:`, a route's or a mount's arguments): an object
# that changes by its number, anything else as it is. Where a copy is all that the workers get, the log says so.
function ConvertTo-LivePortable($Value, [string] $What, $Extent) {
    if (-not [SecretBridge.Pode.SharedText]::IsContainer($Value)) {
        Write-CopyWarning $What $Value $Extent
        return [SecretBridge.Portable]::Tag($Value)
    }
    $found = [SecretBridge.Pode.SharedText]::Of($Value)
    Write-StayWarning $What $found.Stays $Extent
    [ordered]@{ t = 'shared'; v = (Add-SharedObject $Value $found).Id }
}

function ConvertTo-LivePortableList($Values, [string] $What, $Extent) {
    $list = [System.Collections.Generic.List[object]]::new()
    if ($null -ne $Values) { foreach ($value in $Values) { $list.Add((ConvertTo-LivePortable $value $What $Extent)) } }
    return , $list.ToArray()
}
