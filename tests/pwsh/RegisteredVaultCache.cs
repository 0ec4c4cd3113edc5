using System.Collections;
using System.Collections.Generic;
using System.IO;

namespace Microsoft.PowerShell.SecretManagement;

/// <summary>What the worker needs of the module's own class: its place is fixed when the type is first used.</summary>
internal static class RegisteredVaultCache
{
    private static readonly string RegistryFilePath;
    private static readonly FileSystemWatcher _registryWatcher;
    private static readonly Dictionary<string, object> _vaultCache;
    private static Hashtable _vaultInfoCache;
    private static object _syncObject;
    private static string _defaultVaultName = string.Empty;

    static RegisteredVaultCache()
    {
        _syncObject = new object();
        _vaultInfoCache = new Hashtable { { "Users", 1 } };
        _vaultCache = new Dictionary<string, object> { { "Users", 1 } };
        _defaultVaultName = "Users";
        string folder = Directory.CreateTempSubdirectory("secretbridge-users-").FullName;
        RegistryFilePath = Path.Combine(folder, "vaultinfo");
        _registryWatcher = new FileSystemWatcher(folder) { EnableRaisingEvents = true };
    }

    internal static string Told => RegistryFilePath + "|" + _registryWatcher.Path + "|" + _vaultCache.Count + _vaultInfoCache.Count + _defaultVaultName;
}

/// <summary>Lets a test look.</summary>
public static class Door
{
    public static string Told => RegisteredVaultCache.Told;
}
