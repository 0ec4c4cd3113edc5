using System.Collections;
using System.Management.Automation;

namespace SecretBridge.Pode;

/// <summary>A command about a lock that outlives it. Lock-PodeObject, which runs a block in its caller's scope, is PowerShell.</summary>
public abstract class LockableCommand : PodeCommand
{
    /// <summary>An object that is shared, or has the lock's name in its member `Name`.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true, ParameterSetName = "Object")]
    [AllowNull]
    public object? Object { get; set; }

    /// <summary>The lock's name.</summary>
    [Parameter(Mandatory = true, ParameterSetName = "Name")]
    public string Name { get; set; } = "";
}

/// <summary>Takes a lock until Exit-PodeLockable.</summary>
/// <example>Enter-PodeLockable -Name 'report'</example>
[Cmdlet(VerbsCommon.Enter, "PodeLockable", DefaultParameterSetName = "Object")]
public sealed class EnterPodeLockableCommand : LockableCommand
{
    /// <summary>How long to wait, in milliseconds; -1 is for ever.</summary>
    [Parameter]
    public int Timeout { get; set; } = System.Threading.Timeout.Infinite;

    /// <summary>Waits first until nobody holds the lock of what has no name.</summary>
    [Parameter]
    public SwitchParameter CheckGlobal { get; set; }

    /// <inheritdoc/>
    protected override void End()
    {
        if (CheckGlobal)
        {
            Locks.WaitForGlobal(Timeout);
        }
        Locks.Enter(Locks.NameOf(Object, Name), Timeout);
    }
}

/// <summary>Gives a lock back.</summary>
/// <example>Exit-PodeLockable -Name 'report'</example>
[Cmdlet(VerbsCommon.Exit, "PodeLockable", DefaultParameterSetName = "Object")]
public sealed class ExitPodeLockableCommand : LockableCommand
{
    /// <inheritdoc/>
    protected override void End() => Locks.Exit(Locks.NameOf(Object, Name));
}

/// <summary>Names a lock.</summary>
/// <example>New-PodeLockable -Name 'report'</example>
[Cmdlet(VerbsCommon.New, "PodeLockable")]
public sealed class NewPodeLockableCommand : PodeCommand
{
    /// <summary>The lock's name. Locks go by name, and are there once they are taken.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    public string Name { get; set; } = "";
}

/// <summary>A named lock, for Lock-PodeObject.</summary>
/// <example>Lock-PodeObject -Object (Get-PodeLockable -Name 'report') -ScriptBlock { 'alone' } -Return</example>
[Cmdlet(VerbsCommon.Get, "PodeLockable")]
[OutputType(typeof(Hashtable))]
public sealed class GetPodeLockableCommand : PodeCommand
{
    /// <summary>The lock's name.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    public string Name { get; set; } = "";

    /// <inheritdoc/>
    protected override void End()
    {
        Hashtable lockable = SecretBridge.Values.NewTable();
        lockable["Name"] = Name;
        WriteObject(lockable);
    }
}
