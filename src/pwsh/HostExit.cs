using System;
using System.Management.Automation.Host;
using System.Reflection;

namespace SecretBridge;

/// <summary>
/// `exit` in an extension ends its pipeline without an error: a read looks not found, a write done. The host was only told to
/// end after this script. So the telling is looked for, and the process ends before such a reply goes out.
/// </summary>
public static class HostExit
{
    private const BindingFlags Hidden = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic;

    private static PropertyInfo? s_flag;
    private static object? s_console;

    /// <summary>Finds the property in which the console host remembers it; it is not public.</summary>
    public static void Watch(PSHost host)
    {
        try
        {
            s_console = host.GetType().GetProperty("ExternalHost", Hidden)?.GetValue(host);
            foreach (string name in new[] { "ShouldEndSession", "ShouldExit" })
            {
                if (s_console?.GetType().GetProperty(name, Hidden) is PropertyInfo flag && flag.PropertyType == typeof(bool))
                {
                    s_flag = flag;
                    return;
                }
            }
        }
        catch (Exception exception) when (exception is TargetInvocationException or AmbiguousMatchException)
        {
            s_flag = null;
        }
        Console.Error.WriteLine("worker: this host does not show when exit was asked for");
    }

    /// <summary>Ends the process if the host was told to end.</summary>
    public static void WhenAsked()
    {
        if (s_flag is not null && s_flag.GetValue(s_console) is true)
        {
            Environment.Exit(1);
        }
    }
}
