using System;
using System.Collections;
using System.IO;
using System.Reflection;
using System.Reflection.Emit;

namespace SecretBridge;

/// <summary>
/// Another place for SecretManagement's registry. The module fixes the place when its vaults are first asked for; on
/// Windows it takes it from a folder that no variable moves, so that a worker's vaults would be put into the user's own.
/// </summary>
public static class OwnRegistry
{
    private const string Cache = "Microsoft.PowerShell.SecretManagement.RegisteredVaultCache";

    /// <summary>
    /// From here on the module reads and writes this file, and knows none of the vaults of the old one. Gives false,
    /// with nothing changed, where the module is made in another way.
    /// </summary>
    public static bool Move(Assembly module, string file)
    {
        if (Field(module, "RegistryFilePath", typeof(string)) is not { } path
            || Field(module, "_vaultInfoCache", typeof(Hashtable)) is not { } known
            || Field(module, "_defaultVaultName", typeof(string)) is not { } name
            || Value(module, "_vaultCache") is not IDictionary vaults
            || Value(module, "_registryWatcher") is not FileSystemWatcher watcher
            || Value(module, "_syncObject") is not { } turn
            || Path.GetDirectoryName(file) is not { } folder)
        {
            return false;
        }
        Directory.CreateDirectory(folder);
        lock (turn)
        {
            watcher.EnableRaisingEvents = false;
            watcher.Path = folder;
            SetReadOnly(path, file);
            vaults.Clear();
            known.SetValue(null, new Hashtable());
            name.SetValue(null, "");
            watcher.EnableRaisingEvents = true;
        }
        return true;
    }

    private static FieldInfo? Field(Assembly module, string name, Type? type)
    {
        FieldInfo? field = module.GetType(Cache)?.GetField(name, BindingFlags.Static | BindingFlags.NonPublic);
        return type is null || field?.FieldType == type ? field : null;
    }

    private static object? Value(Assembly module, string name) => Field(module, name, null)?.GetValue(null);

    // Reflection sets no such field once its type is in use; code that is made for it does.
    private static void SetReadOnly(FieldInfo field, string value)
    {
        DynamicMethod method = new("Set", typeof(void), [typeof(string)], field.DeclaringType!, skipVisibility: true);
        ILGenerator code = method.GetILGenerator();
        code.Emit(OpCodes.Ldarg_0);
        code.Emit(OpCodes.Stsfld, field);
        code.Emit(OpCodes.Ret);
        method.CreateDelegate<Action<string>>()(value);
    }
}
